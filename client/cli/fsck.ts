/** `omg fsck`: all files checked against what is on the devices. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { FsckLog, FsckStatus } from '../../common/protocol/upkeep.ts'
import { wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatSeconds, plural } from './text.ts'

/** What MogileFS's event codes mean. */
export const fsckEvents: Readonly<Record<string, string>> = {
  NOPA: 'no copy was known',
  POVI: 'number or place of the copies is not what the class asks for',
  MISS: 'a copy was missing',
  BLEN: 'a copy had another length',
  SRCH: 'every device was searched',
  FOND: 'a copy was found there',
  GONE: 'no copy was found',
  REPL: 'a replication was queued',
  BCNT: 'the count of copies was corrected',
  NSUM: 'a checksum was missing, and is stored',
  BSUM: 'a copy had another checksum',
  MSUM: 'copies had different checksums, and none is stored',
  BALG: 'the checksum is of another algorithm',
}

interface LogOptions extends ConnectionOptions {
  readonly after?: number
  readonly follow?: boolean
}

interface ResetOptions extends DestructiveOptions {
  readonly policyOnly?: boolean
  readonly after?: number
}

/** Milliseconds between two looks at the log. */
const pollMs = 2_000

const maxFid = Number.MAX_SAFE_INTEGER

/** Adds the commands. */
export function addFsck(program: Command, cli: Cli): void {
  const group = program
    .command('fsck')
    .description('check all files against what is on the devices')

  const status = cli.online(
    group,
    'status',
    'show how far it is and what it found',
    'the FsckStatus',
  )
  status.action((options: ConnectionOptions) =>
    cli.run(status, options, async ({ api, signal, out, json }) => {
      const found = await api.fsckStatus({ signal })
      if (json) await out.json(found)
      else await out.write(describeFsck(found))
    }),
  )

  const start = cli.online(
    group,
    'start',
    'go on where it was stopped; after a whole run, with the files that are new',
    'the FsckStatus',
  )
  start.action((options: ConnectionOptions) =>
    cli.run(start, options, async session => {
      await session.api.startFsck({ signal: session.signal })
      await showNow(session)
    }),
  )

  const stop = cli.online(group, 'stop', 'check no more files for now', 'the FsckStatus')
  stop.action((options: ConnectionOptions) =>
    cli.run(stop, options, async session => {
      await session.api.stopFsck({ signal: session.signal })
      await showNow(session)
    }),
  )

  const reset = destroys(
    cli.online(group, 'reset', 'begin anew, with the counts at 0', 'the FsckStatus'),
  )
    .option('--policy-only', 'judge number and place of copies, look at none')
    .option('--after <FID>', 'leave out files up to this number', wholeNumber(0, maxFid))
    .option('--startpos <FID>', 'the same', wholeNumber(0, maxFid))
  reset.action((options: ResetOptions & { readonly startpos?: number }) =>
    cli.run(reset, options, async session => {
      if (options.dryRun) {
        await mayDestroy('forget how far fsck got', options, session)
        return
      }
      const { api, signal } = session
      const after = options.after ?? options.startpos ?? 0
      await api.resetFsck({ policyOnly: options.policyOnly ?? false, after }, { signal })
      await showNow(session)
    }),
  )

  const log = cli
    .online(group, 'log', 'print what it found, oldest first', 'one entry of FsckLog a line')
    .alias('printlog')
    .option('--after <ID>', 'only entries behind this one', wholeNumber(0, maxFid))
    .option('-f, --follow', 'go on with those to come, until Ctrl-C')
  log.action((options: LogOptions) => cli.run(log, options, session => print(options, session)))

  const tail = cli.online(
    group,
    'taillog',
    'print the last 20 and those to come, until Ctrl-C',
    'as log',
  )
  tail.action((options: ConnectionOptions) =>
    cli.run(tail, options, async session => {
      const { lastLogId } = await session.api.fsckStatus({ signal: session.signal })
      await print({ ...options, after: Math.max(0, lastLogId - 20), follow: true }, session)
    }),
  )

  const clear = destroys(
    cli.online(group, 'clearlog', 'empty the log; the counts stay', 'the FsckStatus'),
  )
  clear.action((options: DestructiveOptions) =>
    cli.run(clear, options, async session => {
      if (!(await mayDestroy('empty the log of fsck', options, session))) return
      await session.api.clearFsckLog({ signal: session.signal })
      await showNow(session)
    }),
  )
}

async function showNow({ api, signal, out, json }: Session): Promise<void> {
  const status = await api.fsckStatus({ signal })
  if (json) await out.json(status)
  else await out.write(describeFsck(status))
}

async function print(
  { after = 0, follow = false }: LogOptions,
  { api, signal, out, json }: Session,
): Promise<void> {
  const limit = 1000
  let last = after
  for (;;) {
    const entries = await api.fsckLog({ after: last, limit }, { signal })
    if (entries.length > 0) {
      await out.write(
        entries.map(entry => `${json ? JSON.stringify(entry) : line(entry)}\n`).join(''),
      )
    }
    last = entries.at(-1)?.id ?? last
    if (entries.length === limit) continue
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

/** Some lines on how far fsck is and what it found. */
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

/** How long it has run and how long it will, by what was queued since its start. */
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
  const left =
    running && rate > 0 ? `; at most ${formatSeconds((endFid - checkedTo) / rate)} to go` : ''
  return `${formatSeconds(seconds)} (${rate.toFixed(1)} files/s${left})`
}
