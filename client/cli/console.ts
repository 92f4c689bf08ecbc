/** `omg console`: the console of a tracker, which answers lines that begin with `!` on its MogileFS port. */
import { connect, type Socket } from 'node:net'
import type { Command } from 'commander'
import { formatAddress, parseAddress, urlAddress, type Address } from '../../common/address.ts'
import type { Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { CommandFailure, UsageError } from './failure.ts'
import type { Session } from './session.ts'
import { escapeControls } from './text.ts'

interface Options extends DestructiveOptions {
  readonly wire?: string
}

/** The MogileFS port that trackers listen on by default. */
const defaultPort = 7001

/** Milliseconds within which a tracker has to answer. */
const answerMs = 10_000

/** Adds the command. */
export function addConsole(program: Command, cli: Cli): void {
  const command = destroys(
    cli.online(
      program,
      'console',
      'send a command to a tracker: jobs, want 5 replicate, queue, recent, stats, version, watch',
      'an array of lines; for watch, one string per line',
    ),
  )
    .argument('<WORD...>', 'a command as in MogileFS, without the !; watch goes on until Ctrl-C')
    .option(
      '--wire <HOST:PORT>',
      'MogileFS port of the tracker (OMG_WIRE; else port 7001 of the first tracker)',
    )
  command.action((words: string[], options: Options) =>
    cli.run(command, options, async session => {
      const line = words.join(' ').replace(/^!/, '')
      // oxlint-disable-next-line no-control-regex
      if (/[\u0000-\u001f]/.test(line)) throw new UsageError('a command is one line of text')
      const address = wireAddress(options, session)
      const who = formatAddress(address)
      const stops = line.startsWith('shutdown')
      if (stops && !(await mayDestroy(`stop the tracker at ${who}`, options, session))) return
      await ask(line, address, session)
    }),
  )
}

function wireAddress(
  { wire }: Options,
  { host: { env }, trackers: [first = ''] }: Session,
): Address {
  if (wire !== undefined) return parseAddress('--wire', wire)
  if (env['OMG_WIRE']) return parseAddress('OMG_WIRE', env['OMG_WIRE'])
  return { host: urlAddress(new URL(first)).host, port: defaultPort }
}

async function ask(line: string, address: Address, session: Session): Promise<void> {
  const { out, json, signal } = session
  const goesOn = line.startsWith('watch')
  const lines: string[] = []
  const socket = connect(address)
  const deadline = goesOn ? [] : [AbortSignal.timeout(answerMs)]
  const end = AbortSignal.any([signal, ...deadline])
  const stop = (): void => void socket.destroy(end.reason as Error)
  end.addEventListener('abort', stop)
  try {
    socket.write(`!${line}\r\n`)
    for await (const text of linesOf(socket)) {
      if (text === '.' && !goesOn) break
      if (text === '.') continue
      if (!goesOn) lines.push(text)
      else await out.write(`${json ? JSON.stringify(text) : escapeControls(text)}\n`)
    }
  } catch (err) {
    signal.throwIfAborted()
    const { message } = err as Error
    const hint = 'name the MogileFS port with --wire; trackers listen only on loopback by default'
    throw new CommandFailure(`${formatAddress(address)}: ${message} (${hint})`)
  } finally {
    end.removeEventListener('abort', stop)
    socket.destroy()
  }
  if (lines[0]?.startsWith('ERROR: ')) throw new CommandFailure(lines[0].slice(7))
  if (json) await out.json(lines)
  else await out.write(lines.map(text => `${escapeControls(text)}\n`).join(''))
}

/** The lines that the tracker sends, without line ends. Throws when it closes the connection. */
async function* linesOf(socket: Socket): AsyncGenerator<string, void, undefined> {
  let rest = ''
  for await (const text of socket.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + text).split(/\r?\n/)
    rest = lines.pop() ?? ''
    yield* lines
  }
  throw new Error('the tracker closed the connection')
}
