/** `omg rebalance`: replicas moved from the devices that a policy names to others. */
import type { Command } from 'commander'
import type { RebalanceStatus } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural, printable } from './text.ts'

/** Adds the commands. */
export function addRebalance(program: Command, cli: Cli): void {
  const group = program
    .command('rebalance')
    .description('move replicas from the devices that a policy names to others')

  const status = cli.online(group, 'status', 'show policy and progress', 'the RebalanceStatus')
  status.action((options: ConnectionOptions) =>
    cli.run(status, options, async session =>
      show(await session.api.rebalanceStatus({ signal: session.signal }), session),
    ),
  )

  const policy = cli
    .online(
      group,
      'policy',
      'set the policy and forget how far the last run got; without words, show it',
      'the RebalanceStatus',
    )
    .alias('settings')
    .argument('[WORD...]', 'from_devices=1,2 to_hosts=3 limit_by=size limit=10g …')
    .option('--options <WORDS>', 'the same as one text')
  policy.action((words: string[], options: ConnectionOptions & { readonly options?: string }) =>
    cli.run(policy, options, async session => {
      if (options.options !== undefined && words.length > 0) {
        throw new UsageError('--options says the same as the words: give one of them')
      }
      const text = options.options ?? words.join(' ')
      const { api, signal } = session
      if (text.trim() !== '') await api.setRebalancePolicy(text, { signal })
      await show(await api.rebalanceStatus({ signal }), session)
    }),
  )

  const test = cli.online(
    group,
    'test',
    'show which devices the policy selects and how much would leave them, and move nothing',
    'the RebalanceTest',
  )
  test.action((options: ConnectionOptions) =>
    cli.run(test, options, async ({ api, signal, out, json }) => {
      const [found, { policy: text = '' }] = await Promise.all([
        api.testRebalance({ signal }),
        api.rebalanceStatus({ signal }),
      ])
      if (json) return out.json(found)
      const devices = (devids: readonly number[]): string =>
        devids.length === 0 ? 'none' : devids.map(devid => `dev${devid}`).join(' ')
      const amounts = found.amounts.map(
        ({ devid, files, bytes }) =>
          `would leave   dev${devid}: ${plural(files, 'file')}, ${formatBytes(bytes)}\n`,
      )
      await out.write(
        `policy        ${printable(text)}\nfrom          ${devices(found.sources)}\nto            ${devices(found.destinations)}\n${amounts.join('')}`,
      )
    }),
  )

  const start = cli.online(
    group,
    'start',
    'begin, or go on where it was stopped',
    'the RebalanceStatus',
  )
  start.action((options: ConnectionOptions) =>
    cli.run(start, options, async session =>
      show(await session.api.startRebalance({ signal: session.signal }), session),
    ),
  )

  const stop = cli.online(group, 'stop', 'begin no more moves', 'the RebalanceStatus')
  stop.action((options: ConnectionOptions) =>
    cli.run(stop, options, async session => {
      const { api, signal } = session
      await api.stopRebalance({ signal })
      await show(await api.rebalanceStatus({ signal }), session)
    }),
  )

  const reset = destroys(
    cli.online(group, 'reset', 'forget how far the last run got', 'the RebalanceStatus'),
  )
  reset.action((options: DestructiveOptions) =>
    cli.run(reset, options, async session => {
      if (options.dryRun) {
        const change = { action: 'rebalance.reset' } as const
        await mayDestroy('forget how far the rebalance got', options, session, change)
        return
      }
      const { api, signal } = session
      await api.resetRebalance({ signal })
      await show(await api.rebalanceStatus({ signal }), session)
    }),
  )
}

async function show(status: RebalanceStatus, { out, json }: Session): Promise<void> {
  if (json) await out.json(status)
  else await out.write(describeRebalance(status))
}

function describeRebalance({ running, host, policy, progress }: RebalanceStatus): string {
  const rows = [
    ['running', running ? `yes, started on ${host ?? '?'}` : 'no'],
    ['policy', policy ?? 'none'],
  ]
  if (progress) {
    const { pending, current, completed, filesQueued, bytesQueued } = progress
    const list = (devids: readonly number[]): string =>
      devids.map(devid => `dev${devid}`).join(' ') || '-'
    rows.push(
      ['now', current === undefined ? '-' : `dev${current}`],
      ['to come', list(pending)],
      ['done', list(completed)],
      ['queued', `${plural(filesQueued, 'file')}, ${formatBytes(bytesQueued)}`],
      ['started', progress.startedAt ?? '-'],
      ['stopped', progress.stoppedAt ?? '-'],
      ['finished', progress.finishedAt ?? '-'],
    )
  }
  return rows.map(([label = '', value = '']) => `${label.padEnd(9)} ${printable(value)}\n`).join('')
}
