/**
 * The tracker's background work under the names that MogileFS's tools know, and how many do it. What
 * is a process there is a loop here; who commands them (`!want`, `!to`) sees no difference.
 */
import type { Logger } from '../../common/log.ts'
import { Crew } from './crew.ts'
import type { Worker } from './loop.ts'

/** Job names in the order in which they are listed. */
const jobNames = [
  'delete',
  'fsck',
  'job_master',
  'monitor',
  'queryworker',
  'reaper',
  'replicate',
] as const
export type JobName = (typeof jobNames)[number]
/** Work that MogileFS has no job for, or does within one of its others. */
type OwnName = 'rebalance' | 'scrub' | 'sweep' | 'upkeep'

/** They get their work from the job master and rest without it. */
const mastered: ReadonlySet<string> = new Set<JobName | OwnName>([
  'delete',
  'fsck',
  'replicate',
  'rebalance',
  'scrub',
  'sweep',
  'upkeep',
])
/** One does it, or nobody. */
const single: ReadonlySet<string> = new Set<JobName>(['job_master', 'monitor'])

/** Query workers that MogileFS starts with. */
export const queryWorkers = 20

export interface JobState {
  readonly name: JobName
  /** How many do it now. */
  readonly count: number
  readonly desired: number
  /** How much they have done. */
  readonly sent: number
  /** How much of what they have claimed waits in memory. */
  readonly queued: number
}

export interface Jobs {
  /**
   * Runs `worker`: as often as the job of its name wants it, or once where it is no job's. Does
   * nothing after `close`.
   */
  add(worker: Worker): void
  /** Has queries worked on from now on, and lets `want` change numbers: the monitor knows its devices. */
  begin(): void
  readonly begun: boolean
  /** Tells a worker that there is something for it now. */
  wake(name: string): void
  /** All jobs, sorted by name. */
  list(): JobState[]
  /** Says how many are to do a job. False when there is no such job, or before `begin`. */
  want(name: string, desired: number): boolean
  /**
   * Tells all who do a job `:wake_up`, or `:shutdown`, which has others take their place; any other
   * message changes nothing. Returns how many it reached.
   */
  tell(name: string, message: string): number
  /** Ends all work, also what is under way. */
  close(): Promise<void>
}

export interface JobsOptions {
  readonly log: Logger
  /** False: starts without a job master. */
  readonly jobMaster: boolean
  /** Told how many query workers there are, at once and whenever the number changes. */
  readonly onQueryWorkers: (count: number) => void
}

export function createJobs({ log, jobMaster, onQueryWorkers }: JobsOptions): Jobs {
  const crews = new Map<string, Crew>()
  const crewOf = (name: string): Crew => {
    const known = crews.get(name)
    if (known) return known
    const crew: Crew = new Crew({
      name,
      log,
      target: () => (mastered.has(name) && masters() === 0 ? 0 : crew.desired),
      onCount() {
        if (name === 'queryworker') onQueryWorkers(crew.count)
        if (name === 'job_master') for (const job of mastered) crewOf(job).adjust()
      },
    })
    crews.set(name, crew)
    return crew
  }
  const masters = (): number => crewOf('job_master').count
  const jobs = jobNames.map(name => ({ name, crew: crewOf(name) }))
  const jobOf = (name: string): Crew | undefined => jobs.find(job => job.name === name)?.crew

  crewOf('job_master').desired = jobMaster ? 1 : 0
  crewOf('queryworker').desired = queryWorkers
  crewOf('job_master').staff()
  onQueryWorkers(0)

  let begun = false
  let closed = false
  const wake = (name: string): void => {
    crews.get(name)?.wake()
    if (name === 'job_master') for (const job of mastered) crewOf(job).wake()
  }
  return {
    add(worker) {
      if (!closed) crewOf(worker.name).staff(worker)
    },
    begin() {
      begun = true
      crewOf('queryworker').staff()
    },
    get begun() {
      return begun
    },
    wake,
    list: () =>
      jobs.map(({ name, crew: { count, desired, sent, queued } }) => ({
        name,
        count,
        desired,
        sent,
        queued,
      })),
    want(name, desired) {
      const crew = jobOf(name)
      if (!crew || !begun) return false
      if (desired > 1 && single.has(name)) return true
      crew.desired = desired
      crew.adjust()
      return true
    },
    tell(name, message) {
      const crew = jobOf(name)
      const reached = crew?.count ?? 0
      if (message === ':wake_up') wake(name)
      if (message === ':shutdown') crew?.restart()
      return reached
    },
    async close() {
      closed = true
      await Promise.all([...crews.values()].map(crew => crew.close()))
    },
  }
}
