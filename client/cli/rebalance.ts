/** `omg rebalance`: replicas moved between devices by a policy. */
import type { Command } from 'commander'
import type { RebalanceStatus } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { destroys, rehearsed, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { deviceNames, formatBytes, plural, printable } from './text.ts'

/** Adds the commands. */
export function addRebalance(program: Command, cli: Cli): void {
  const group = program
    .command('rebalance')
    .description('move replicas from the devices that a policy selects to others')
  addStatus(group, cli)
  addPolicy(group, cli)
  addTest(group, cli)
  addStart(group, cli)
  addStop(group, cli)
  addReset(group, cli)
}

function addStatus(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'status',
    'show the policy and the progress',
    'the RebalanceStatus',
  )
  command.action((options: ConnectionOptions) => cli.run(command, options, showNow))
}

function addPolicy(group: Command, cli: Cli): void {
  const command = cli
    .online(
      group,
      'policy',
      'set the policy and forget how far the last run got; without words, show the policy',
      'the RebalanceStatus',
    )
    .alias('settings')
    .argument('[WORD...]', 'from_devices=1,2 to_hosts=3 limit_by=size limit=10g …')
    .option('--options <WORDS>', 'the words as one text')
  command.action((words: string[], options: ConnectionOptions & { readonly options?: string }) =>
    cli.run(command, options, async session => {
      if (options.options !== undefined && words.length > 0) {
        throw new UsageError('--options and words mean the same: give one of them')
      }
      const text = options.options ?? words.join(' ')
      const { api, signal } = session
      if (text.trim() !== '') await api.setRebalancePolicy(text, { signal })
      await showNow(session)
    }),
  )
}

function addTest(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'test',
    'show which devices the policy selects and how much would leave them; moves nothing',
    'the RebalanceTest',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const [found, { policy = '' }] = await Promise.all([
        api.testRebalance({ signal }),
        api.rebalanceStatus({ signal }),
      ])
      if (json) return out.json(found)
      await out.lines([
        `policy        ${printable(policy)}`,
        `from          ${deviceNames(found.sources, 'none')}`,
        `to            ${deviceNames(found.destinations, 'none')}`,
        ...found.amounts.map(
          ({ devid, files, bytes }) =>
            `would leave   dev${devid}: ${plural(files, 'file')}, ${formatBytes(bytes)}`,
        ),
      ])
    }),
  )
}

function addStart(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'start',
    'start, or continue where it was stopped',
    'the RebalanceStatus',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session =>
      show(await session.api.startRebalance({ signal: session.signal }), session),
    ),
  )
}

function addStop(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'stop',
    'queue no more moves; those that are queued are still made',
    'the RebalanceStatus',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      await session.api.stopRebalance({ signal: session.signal })
      await showNow(session)
    }),
  )
}

function addReset(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'reset', 'forget how far the last run got', 'the RebalanceStatus'),
  )
  command.action((options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const change = { action: 'rebalance.reset' } as const
      if (await rehearsed('forget how far the rebalance got', options, session, change)) return
      await session.api.resetRebalance({ signal: session.signal })
      await showNow(session)
    }),
  )
}

async function showNow(session: Session): Promise<void> {
  await show(await session.api.rebalanceStatus({ signal: session.signal }), session)
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
    rows.push(
      ['now', current === undefined ? '-' : `dev${current}`],
      ['to come', deviceNames(pending)],
      ['done', deviceNames(completed)],
      ['queued', `${plural(filesQueued, 'file')}, ${formatBytes(bytesQueued)}`],
      ['started', progress.startedAt ?? '-'],
      ['stopped', progress.stoppedAt ?? '-'],
      ['finished', progress.finishedAt ?? '-'],
    )
  }
  return rows.map(([label = '', value = '']) => `${label.padEnd(9)} ${printable(value)}\n`).join('')
}
