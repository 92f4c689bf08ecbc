/** `omg queue`: the work that waits. */
import type { Command } from 'commander'
import type { QueueList, StuckList, StuckQuery } from '../../common/protocol/upkeep.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import type { Cli } from './command.ts'
import type { ConnectionOptions } from './session.ts'
import { formatTable, plural, printable, type Column } from './text.ts'

/** Jobs that are asked for at once. */
const pageSize = 1000

/** Adds the commands. */
export function addQueue(program: Command, cli: Cli): void {
  const group = program.command('queue').alias('queues').description('the work that waits')

  const show = cli
    .online(group, 'list', 'show what waits, and for how long', 'the QueueList')
    .alias('ls')
  show.action((options: ConnectionOptions) =>
    cli.run(show, options, async ({ api, signal, out, json, host }) => {
      const queues = await api.listQueues({ signal })
      if (json) return out.json(queues)
      await out.write(describeQueues(queues, host.stdout.columns))
    }),
  )

  const stuck = cli.online(
    group,
    'stuck',
    'show what was given up and waits for a person; replicate-now has it tried again',
    'one entry of StuckList with its queue a line',
  )
  stuck.action((options: ConnectionOptions) =>
    cli.run(stuck, options, async ({ api, signal, out, json }) => {
      for await (const { queue, jobs } of pagesOfStuck(api, signal)) {
        const lines = jobs.map(job =>
          json ? JSON.stringify({ queue, ...job }) : stuckLine(queue, job),
        )
        await out.write(lines.map(line => `${line}\n`).join(''))
      }
    }),
  )

  const now = cli.online(
    group,
    'replicate-now',
    'make all waiting replications due, also those that were given up',
    'the Replicated',
  )
  now.action((options: ConnectionOptions) =>
    cli.run(now, options, async ({ api, signal, out, json }) => {
      const answer = await api.replicateNow({ signal })
      if (json) await out.json(answer)
      else await out.write(`${plural(answer.count, 'replication')} made due\n`)
    }),
  )

  const refresh = cli.online(
    group,
    'refresh',
    'have each tracker read its configuration anew and look at every device',
    '{ trackers }',
  )
  refresh.action((options: ConnectionOptions) =>
    cli.run(refresh, options, async ({ trackers, askOne, signal, out, json }) => {
      for (const tracker of trackers) await askOne(tracker, api => api.refresh({ signal }))
      if (json) await out.json({ trackers })
      else await out.write(`${plural(trackers.length, 'tracker')} refreshed\n`)
    }),
  )
}

/** How deep and how old the queues are, and what goes wrong in them. */
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

const stuckLine = (
  queue: StuckQuery['queue'],
  { fid, attempts, queuedAt, lastError }: StuckList[number],
): string =>
  `${queue.padEnd(9)}  fid ${fid}  since ${queuedAt.slice(0, 19)}Z  tried ${attempts} times  ${printable(lastError ?? '')}`.trimEnd()

/** What was given up in every queue that has any. */
async function* pagesOfStuck(
  api: TrackerApi,
  signal: AbortSignal,
): AsyncGenerator<{ queue: StuckQuery['queue']; jobs: StuckList }> {
  for (const { queue, stuck } of await api.listQueues({ signal })) {
    for (let after: number | undefined = stuck > 0 ? 0 : undefined; after !== undefined;) {
      const jobs: StuckList = await api.listStuck({ queue, after, limit: pageSize }, { signal })
      if (jobs.length > 0) yield { queue, jobs }
      after = jobs.length < pageSize ? undefined : jobs.at(-1)?.fid
    }
  }
}
