/** One tracker, asked over MogileFS's line protocol: a request and its answer at a time on a connection. */
import { connect, type Socket } from 'node:net'
import type { Address } from '../../common/config.ts'

/** The tracker's own word for why not: `unknown_key`, `unreg_domain`, … */
export class TrackerRefusal extends Error {
  override readonly name = 'TrackerRefusal'
  readonly code: string

  constructor(code: string) {
    super(`the tracker says ${code}`)
    this.code = code
  }
}

/** The connection ended before its answer. */
class ConnectionClosed extends Error {
  override readonly name = 'ConnectionClosed'
}

export interface LineTracker {
  /**
   * The answer's arguments. Throws TrackerRefusal, and other errors when there is no answer within
   * `timeoutMs`.
   */
  ask(
    command: string,
    args: Readonly<Record<string, string | Buffer>>,
    timeoutMs: number,
  ): Promise<URLSearchParams>
  close(): void
}

/** Waiting connections; more are closed. */
const maxIdle = 16
const maxAnswerBytes = 1024 * 1024

/** Encodes as forms do: nothing in a value can end it, its line, or begin another. */
const encode = (value: string | Buffer): string =>
  Buffer.from(value).reduce((text, byte) => {
    const char = String.fromCharCode(byte)
    const plain = /[A-Za-z0-9_.~-]/.test(char)
    return text + (plain ? char : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`)
  }, '')

/** Creates the way to one tracker; connects when asked. */
export function createLineTracker({ host, port }: Address): LineTracker {
  const idle = new Set<Socket>()
  const open = new Set<Socket>()

  function take(timeoutMs: number): { socket: Socket; reused: boolean } {
    for (const socket of idle) {
      idle.delete(socket)
      socket.removeAllListeners('data')
      if (socket.writable) return { socket, reused: true }
    }
    const socket = connect({ host, port, noDelay: true, timeout: timeoutMs })
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      open.delete(socket)
      idle.delete(socket)
    })
    return { socket, reused: false }
  }

  function giveBack(socket: Socket): void {
    if (idle.size >= maxIdle || !socket.writable) {
      socket.destroy()
      return
    }
    socket.setTimeout(0)
    socket.once('data', () => socket.destroy()) // nobody has asked
    idle.add(socket)
  }

  function exchange(socket: Socket, line: string, timeoutMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = ''
      const settle = (): void => {
        clearTimeout(timer)
        socket.off('data', onData).off('close', onClose)
      }
      const fail = (reason: Error): void => {
        settle()
        socket.destroy()
        reject(reason)
      }
      const onClose = (): void => fail(new ConnectionClosed('the tracker closed the connection'))
      const onData = (chunk: Buffer): void => {
        text += chunk.toString('latin1')
        const end = text.indexOf('\n')
        if (end === -1) {
          if (text.length > maxAnswerBytes) fail(new Error('the answer of the tracker is too long'))
          return
        }
        settle()
        if (end === text.length - 1) giveBack(socket)
        else socket.destroy()
        resolve(text.slice(0, end).replace(/\r$/, ''))
      }
      const timer = setTimeout(() => fail(new Error('the tracker does not answer')), timeoutMs)
      socket.on('data', onData).on('close', onClose)
      socket.write(line)
    })
  }

  async function answerTo(line: string, timeoutMs: number): Promise<string> {
    const { socket, reused } = take(timeoutMs)
    try {
      return await exchange(socket, line, timeoutMs)
    } catch (err) {
      if (!reused || !(err instanceof ConnectionClosed)) throw err
    }
    // It may have closed the connection while that waited; to ask is no change, so asking again is right.
    for (const waiting of idle) waiting.destroy()
    idle.clear()
    return exchange(take(timeoutMs).socket, line, timeoutMs)
  }

  return {
    async ask(command, args, timeoutMs) {
      const form = Object.entries(args).map(([name, value]) => `${name}=${encode(value)}`)
      const answer = await answerTo(`${command} ${form.join('&')}\r\n`, timeoutMs)
      const [, verdict, rest = ''] = /^(OK|ERR)(?: (.*))?$/.exec(answer) ?? []
      if (verdict === 'ERR') throw new TrackerRefusal(rest.split(' ', 1)[0] ?? '')
      if (verdict !== 'OK') throw new Error('the tracker answers something else')
      return new URLSearchParams(rest)
    },
    close() {
      for (const socket of open) socket.destroy()
    },
  }
}
