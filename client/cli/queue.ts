/** `omg queue`: the work that waits. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'
import type { ConnectionOptions } from './session.ts'
import { plural } from './text.ts'

/** Adds the commands. */
export function addQueue(program: Command, cli: Cli): void {
  const group = program.command('queue').alias('queues').description('the work that waits')

  const show = cli
    .online(group, 'list', 'show what waits', 'the queues of ClusterStatus')
    .alias('ls')
  show.action((options: ConnectionOptions) =>
    cli.run(show, options, async ({ api, signal, out, json }) => {
      const { queues } = await api.status({ signal })
      if (json) return out.json(queues)
      await out.table(
        [
          { title: 'QUEUE' },
          { title: 'WAITING', right: true },
          { title: 'DUE', right: true },
          { title: 'LAST ERROR', shrink: true },
        ],
        Object.entries(queues).map(([name, { waiting, due, lastError }]) => [
          name,
          String(waiting),
          String(due),
          lastError ?? '-',
        ]),
      )
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
    cli.run(refresh, options, async ({ trackers, createApi, signal, out, json }) => {
      for (const tracker of trackers) {
        const api = createApi(tracker)
        try {
          await api.refresh({ signal })
        } finally {
          await api.close()
        }
      }
      if (json) await out.json({ trackers })
      else await out.write(`${plural(trackers.length, 'tracker')} refreshed\n`)
    }),
  )
}
