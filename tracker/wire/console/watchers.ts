/** Those who watch the tracker at work over the console (`!watch`), and what they get to see. */
import type { Level, Logger } from 'pino'
import { utf8ToWire } from '../codec.ts'
import type { WireClient } from '../connection.ts'
import { printable } from './printable.ts'

const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const satisfies Level[]

/** What a logger's children say about each of their lines. */
type Bindings = Readonly<Record<string, unknown>>

export class Watchers {
  readonly #clients = new Set<WireClient>()
  /** Clients that have ever watched: their end is listened for once. */
  readonly #known = new WeakSet<WireClient>()

  /** True when `client` watches from now on, false when it no longer does. */
  toggle(client: WireClient): boolean {
    if (this.#clients.delete(client)) return false
    this.#clients.add(client)
    if (!this.#known.has(client)) client.onClose(() => this.#clients.delete(client))
    this.#known.add(client)
    return true
  }

  /**
   * A logger that does what `log` does and shows its lines to the watchers, whether or not `log`
   * keeps them; those of debug and below only when it does or they are a worker's. Children that
   * stand for one request are plain ones: a busy API would drown the rest.
   */
  tap(log: Logger, bindings: Bindings = {}): Logger {
    const tapped = Object.create(log) as Logger
    for (const level of levels) {
      const write = log[level].bind(log) as (...args: unknown[]) => void
      tapped[level] = (...args: unknown[]) => {
        write(...args)
        if (this.#clients.size === 0) return
        if (isDebug(level) && !('worker' in bindings) && !log.isLevelEnabled(level)) return
        this.#show(lineOf(level, bindings, args))
      }
    }
    const child = (more: Bindings, options?: object): Logger => {
      const plain = log.child(more, options)
      return 'reqId' in more ? plain : this.tap(plain, { ...bindings, ...more })
    }
    return Object.assign(tapped, { child })
  }

  #show(text: string): void {
    const line = `:: ${printable(utf8ToWire(text))}\r\n`
    for (const client of this.#clients) client.send(line)
  }
}

const isDebug = (level: Level): boolean => level === 'debug' || level === 'trace'

/** What was logged as one line: who, the message, and then its fields. */
function lineOf(level: Level, { worker }: Bindings, args: readonly unknown[]): string {
  const [first, second] = args
  const fields = typeof first === 'object' && first !== null ? Object.entries(first) : []
  const message = typeof first === 'string' ? first : typeof second === 'string' ? second : ''
  const who = typeof worker === 'string' ? `[${worker}(${process.pid})] ` : ''
  const shown = fields.map(([name, value]) => ` ${name}=${valueOf(value)}`).join('')
  return `${isDebug(level) ? '[debug] ' : ''}${who}${message}${shown}`
}

function valueOf(value: unknown): string {
  if (value instanceof Error) return value.message
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
