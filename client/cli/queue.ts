/** `omg queue`: the jobs that trackers have yet to do. */
import type { Command } from 'commander'
import type { QueueList, StuckList, StuckQuery } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { pageSize, pagesOf } from './pages.ts'
import type { ConnectionOptions } from './session.ts'
import { formatTable, plural, printable, type Column } from './text.ts'

/** Adds the commands. */
export function addQueue(program: Command, cli: Cli): void {
  const group = program
    .command('queue')
    .alias('queues')
    .description('show and retry the jobs that wait')
  addList(group, cli)
  addStuck(group, cli)
  addReplicateNow(group, cli)
  addRefresh(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'list', 'show how many jobs wait, and for how long', 'the QueueList')
    .alias('ls')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json, host }) => {
      const queues = await api.listQueues({ signal })
      if (json) await out.json(queues)
      else await out.write(describeQueues(queues, host.stdout.columns))
    }),
  )
}

function addStuck(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'stuck',
    'list the jobs that were given up and need a person; replicate-now retries the replications',
    'one entry of StuckList, with its queue, per line',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      for (const { queue, stuck } of await api.listQueues({ signal })) {
        if (stuck === 0) continue
        const pages = pagesOf<StuckList[number]>(last =>
          api.listStuck({ queue, after: last?.fid ?? 0, limit: pageSize }, { signal }),
        )
        for await (const jobs of pages) {
          await out.lines(
            jobs.map(job => (json ? JSON.stringify({ queue, ...job }) : stuckLine(queue, job))),
          )
        }
      }
    }),
  )
}

function addReplicateNow(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'replicate-now',
    'retry all waiting replications now, including those that were given up',
    'the Replicated',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const answer = await api.replicateNow({ signal })
      if (json) await out.json(answer)
      else await out.write(`${plural(answer.count, 'replication')} made due\n`)
    }),
  )
}

function addRefresh(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'refresh',
    'have every tracker reload its configuration and look at every device',
    '{ trackers }',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ trackers, askOne, signal, out, json }) => {
      for (const tracker of trackers) await askOne(tracker, api => api.refresh({ signal }))
      if (json) await out.json({ trackers })
      else await out.write(`${plural(trackers.length, 'tracker')} refreshed\n`)
    }),
  )
}

/** A table of the queues by state and age of their jobs, and below it the last error of each. */
export function describeQueues(queues: QueueList, width = 80): string {
  const right = (title: string): Column => ({ title, right: true })
  const table = formatTable(
    [
      { title: 'QUEUE' },
      ...['WAITING', 'NEW', 'OVERDUE', 'LATER', 'STUCK', '<1 MIN', '<1 H', '<1 D', 'OLDER'].map(
        right,
      ),
    ],
    queues.map(({ queue, waiting, overdue, deferred, stuck, ages, ...counts }) => [
      queue,
      ...[waiting, counts.new, overdue, deferred, stuck].map(String),
      ...[ages.underMinute, ages.underHour, ages.underDay, ages.older].map(String),
    ]),
    width,
  )
  const errors = queues.flatMap(({ queue, lastError }) =>
    lastError === undefined ? [] : [`${queue}: ${printable(lastError)}\n`],
  )
  return table + errors.join('')
}

function stuckLine(
  queue: StuckQuery['queue'],
  { fid, attempts, queuedAt, lastError }: StuckList[number],
): string {
  const columns = [
    queue.padEnd(9),
    `fid ${fid}`,
    `since ${queuedAt.slice(0, 19)}Z`,
    `tried ${plural(attempts, 'time')}`,
    printable(lastError ?? ''),
  ]
  return columns.join('  ').trimEnd()
}
