/** What the console says to a word that it does not know. */
export const help = [
  'Commands of the tracker:',
  '',
  '  !stats            uptime, queries and work done',
  '  !jobs             how many do each job, how many are to, and in which process',
  '  !queue            queries that wait',
  '  !recent           the last queries, with the seconds they took and were worked on',
  '  !watch            show what happens as it happens; again: no more',
  '  !version          version of MogileFS that clients may take this for',
  '',
  'From this machine only:',
  '',
  '  !want COUNT JOB   how many are to do a job; 0 stops it',
  '  !to JOB MESSAGE   tell all who do a job :wake_up or :shutdown (they start anew)',
  '  !shutdown         close the tracker',
].join('\n')
