/** `omg top`: the state of the cluster, updated all the time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError, type Command } from 'commander'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import { wholeNumber, type Cli } from './command.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { describeStatus } from './status.ts'

interface Options extends ConnectionOptions {
  readonly interval: number
  readonly count?: number
}

/** Changes per second since the round before. */
interface Rates {
  readonly files: number
  readonly replicate: number
  readonly delete: number
}

/** To the alternate screen of the terminal, with the cursor hidden; and back. */
const enter = '\x1b[?1049h\x1b[?25l'
const leave = '\x1b[?25h\x1b[?1049l'
const home = '\x1b[H'
const clearLine = '\x1b[K'
const clearBelow = '\x1b[J'

/** Adds the command. */
export function addTop(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'top',
      'show the state of the cluster until Ctrl-C; without a terminal, print one line per round',
      '{ at, rates, …ClusterStatus } per round',
    )
    .option('--interval <SECONDS>', 'time between two rounds', seconds, 2)
    .option('--count <N>', 'end after so many rounds', wholeNumber(1, 1_000_000))
  command.action((options: Options) =>
    cli.run(command, options, async session => {
      const { stdout } = session.host
      const full = stdout.isTTY && !session.json
      if (full) stdout.write(enter)
      try {
        await rounds(options, session, full ? drawScreen : session.json ? writeJson : writeLine)
      } catch (err) {
        if (!session.signal.aborted) throw err // Ctrl-C is how it ends
      } finally {
        if (full) stdout.write(leave)
      }
    }),
  )
}

function seconds(text: string): number {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value >= 0.1 && value <= 3600) return value
  throw new InvalidArgumentError('It must be a number from 0.1 to 3600.')
}

type Show = (
  round: { readonly status: ClusterStatus; readonly rates: Rates; readonly first: boolean },
  session: Session,
) => Promise<void>

async function rounds(
  { interval, count = Infinity }: Options,
  session: Session,
  show: Show,
): Promise<void> {
  const { api, signal } = session
  let before: { readonly status: ClusterStatus; readonly at: number } | undefined
  for (let round = 1; round <= count; round++) {
    const status = await api.status({ signal })
    const at = performance.now()
    const past = (at - (before?.at ?? at)) / 1000
    const rate = (pick: (one: ClusterStatus) => number): number =>
      before && past > 0 ? (pick(status) - pick(before.status)) / past : 0
    const rates: Rates = {
      files: rate(one => one.files),
      replicate: rate(one => one.queues.replicate.waiting),
      delete: rate(one => one.queues.delete.waiting),
    }
    await show({ status, rates, first: round === 1 }, session)
    before = { status, at }
    if (round < count) await sleep(interval * 1000, undefined, { signal })
  }
}

const signed = (rate: number): string => `${rate > 0 ? '+' : ''}${rate.toFixed(1)}/s`

const drawScreen: Show = async ({ status, rates }, { host: { stdout }, out }) => {
  const head = `${new Date().toISOString().slice(11, 19)}  files ${signed(rates.files)}  to replicate ${signed(rates.replicate)}  to delete ${signed(rates.delete)}`
  const lines = `${head}\n${describeStatus(status, stdout)}`.split('\n').slice(0, stdout.rows - 1)
  // Overwriting line by line does not flicker, as clearing the screen would.
  await out.write(home + lines.map(line => line + clearLine).join('\n') + clearBelow)
}

const writeJson: Show = ({ status, rates }, { out }) =>
  out.json({ at: new Date().toISOString(), rates, ...status })

const writeLine: Show = async ({ status, rates, first }, { out }) => {
  const { files, openUploads, queues } = status
  if (first) {
    await out.write('TIME      FILES       FILES/S  UPLOADS  REPLICATE  DUE       DELETE  DUE\n')
  }
  const columns = [
    new Date().toISOString().slice(11, 19),
    String(files).padEnd(10),
    rates.files.toFixed(1).padStart(8),
    String(openUploads).padStart(8),
    String(queues.replicate.waiting).padStart(10),
    String(queues.replicate.due).padEnd(8),
    String(queues.delete.waiting).padStart(7),
    String(queues.delete.due),
  ]
  await out.write(`${columns.join('  ')}\n`)
}
