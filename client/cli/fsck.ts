/** `omg fsck`: all files checked against what is on the devices. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { FsckLog, FsckStatus } from '../../common/protocol/upkeep.ts'
import { wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, rehearsed, type DestructiveOptions } from './confirm.ts'
import { pageSize } from './pages.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatSeconds, plural } from './text.ts'

/** What MogileFS's event codes mean. */
const fsckEvents: Readonly<Record<string, string>> = {
  NOPA: 'no copy was known',
  POVI: 'number or place of the copies is not what the class asks for',
  MISS: 'a copy was missing',
  BLEN: 'a copy had the wrong length',
  SRCH: 'every device was searched',
  FOND: 'the search found a copy',
  GONE: 'no copy was found anywhere',
  REPL: 'a replication was queued',
  BCNT: 'the number of copies was corrected',
  NSUM: 'no checksum was stored, so one was computed and stored',
  BSUM: 'a copy had the wrong checksum',
  MSUM: 'copies had different checksums, and none is stored',
  BALG: 'the stored checksum uses another algorithm',
}

interface LogOptions extends ConnectionOptions {
  readonly after?: number
  readonly follow?: boolean
}

interface ResetOptions extends DestructiveOptions {
  readonly policyOnly?: boolean
  readonly after?: number
  /** The same, as `mogadm` spells it. */
  readonly startpos?: number
}

/** Milliseconds between two looks at the log. */
const pollMs = 2_000

/** Entries that `taillog` prints before it waits for new ones. */
const tailEntries = 20

const maxFid = Number.MAX_SAFE_INTEGER

/** Adds the commands. */
export function addFsck(program: Command, cli: Cli): void {
  const group = program
    .command('fsck')
    .description('check all files against what is on the devices, and repair them')
  addStatus(group, cli)
  addStart(group, cli)
  addStop(group, cli)
  addReset(group, cli)
  addLog(group, cli)
  addTaillog(group, cli)
  addClearlog(group, cli)
}

function addStatus(group: Command, cli: Cli): void {
  const command = cli.online(group, 'status', 'show progress and findings', 'the FsckStatus')
  command.action((options: ConnectionOptions) => cli.run(command, options, show))
}

function addStart(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'start',
    'start, or continue where it was stopped; after a complete run, check the files that are new',
    'the FsckStatus',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      await session.api.startFsck({ signal: session.signal })
      await show(session)
    }),
  )
}

function addStop(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'stop',
    'stop checking; start continues from there',
    'the FsckStatus',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      await session.api.stopFsck({ signal: session.signal })
      await show(session)
    }),
  )
}

function addReset(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(
      group,
      'reset',
      'make the next start begin from the first file, with all counts at 0',
      'the FsckStatus',
    ),
  )
    .option('--policy-only', 'check only how many copies are recorded and where, not the copies')
    .option('--after <FID>', 'skip files up to this fid', wholeNumber(0, maxFid))
    .option('--startpos <FID>', 'the same as --after', wholeNumber(0, maxFid))
  command.action((options: ResetOptions) =>
    cli.run(command, options, async session => {
      if (await rehearsed('forget how far fsck got', options, session)) return
      const { api, signal } = session
      const after = options.after ?? options.startpos ?? 0
      await api.resetFsck({ policyOnly: options.policyOnly ?? false, after }, { signal })
      await show(session)
    }),
  )
}

function addLog(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'log', 'print the findings, oldest first', 'one entry of FsckLog per line')
    .alias('printlog')
    .option('--after <ID>', 'only entries after this one', wholeNumber(0, maxFid))
    .option('-f, --follow', 'also print new entries, until Ctrl-C')
  command.action((options: LogOptions) =>
    cli.run(command, options, session => print(options, session)),
  )
}

function addTaillog(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'taillog',
    `print the last ${tailEntries} findings, then new ones until Ctrl-C`,
    'one entry of FsckLog per line',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const { lastLogId } = await session.api.fsckStatus({ signal: session.signal })
      await print({ after: Math.max(0, lastLogId - tailEntries), follow: true }, session)
    }),
  )
}

function addClearlog(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'clearlog', 'empty the log; the counts stay', 'the FsckStatus'),
  )
  command.action((options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      if (!(await mayDestroy('empty the log of fsck', options, session))) return
      await session.api.clearFsckLog({ signal: session.signal })
      await show(session)
    }),
  )
}

async function show({ api, signal, out, json }: Session): Promise<void> {
  const status = await api.fsckStatus({ signal })
  if (json) await out.json(status)
  else await out.write(describeFsck(status))
}

async function print(
  { after = 0, follow = false }: LogOptions,
  { api, signal, out, json }: Session,
): Promise<void> {
  let last = after
  for (;;) {
    const entries = await api.fsckLog({ after: last, limit: pageSize }, { signal })
    await out.lines(entries.map(entry => (json ? JSON.stringify(entry) : line(entry))))
    last = entries.at(-1)?.id ?? last
    if (entries.length === pageSize) continue
    if (!follow) return
    await sleep(pollMs, undefined, { signal })
  }
}

function line({ at, event, fid, devid }: FsckLog[number]): string {
  const device = devid === undefined ? '-' : `dev${devid}`
  const columns = [
    at.slice(0, 19),
    event.padStart(5),
    String(fid).padStart(13),
    device.padStart(10),
  ]
  return `${columns.join(' ')}  ${fsckEvents[event] ?? ''}`.trimEnd()
}

function describeFsck(status: FsckStatus): string {
  const { running, host, policyOnly, checkedTo, endFid, queued, events } = status
  const share = endFid === 0 ? 100 : Math.min(100, (100 * checkedTo) / endFid)
  const rows = [
    ['Running', running ? `yes, started on ${host ?? '?'}` : 'no'],
    ['Status', `${checkedTo} / ${endFid} (${share.toFixed(2)}%)`],
    ['Time', timeOf(status)],
    ['Check type', policyOnly ? 'number and place of copies only' : 'policy and copies'],
    ['Queued', plural(queued, 'file')],
    ...Object.entries(events)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([event, count]) => [event, `${count}  ${fsckEvents[event] ?? ''}`]),
  ]
  return rows
    .map(([label = '', value = '']) => `${label.padStart(11)}: ${value}`.trimEnd() + '\n')
    .join('')
}

/** How long it has run, and how long it will take at the pace at which it has queued files so far. */
function timeOf({
  startedAt,
  stoppedAt,
  now,
  running,
  queued,
  checkedTo,
  endFid,
}: FsckStatus): string {
  if (startedAt === undefined) return 'not started'
  const until = running ? now : (stoppedAt ?? now)
  const seconds = Math.max(0, (Date.parse(until) - Date.parse(startedAt)) / 1000)
  const rate = seconds > 0 ? queued / seconds : 0
  // Not every fid has a file, so it can only be sooner.
  const left =
    running && rate > 0 ? `; at most ${formatSeconds((endFid - checkedTo) / rate)} to go` : ''
  return `${formatSeconds(seconds)} (${rate.toFixed(1)} files/s${left})`
}
