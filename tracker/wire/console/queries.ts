/**
 * The queries of all clients, as the console shows them: counted, the last ones kept, and held back
 * while nobody is to work on them. Every query passes here, so nothing is allocated for it: the last
 * ones lie in a ring of slots that are written over.
 */
import { CodedError } from '../../../common/errors.ts'

/** How many finished queries are kept. */
const keptQueries = 50
/** Longest part of a line that is kept: what is shown must not add up to all that clients ever sent. */
const keptBytes = 4096
/** Bytes of queries that may wait at once; more are refused. */
const maxHeldBytes = 32 * 1024 * 1024

/** A finished query; times in milliseconds. */
export interface RecentQuery {
  readonly address: string
  /** A wire string, cut where it is very long. */
  readonly line: string
  /** From its arrival to its answer. */
  readonly elapsedMs: number
  /** The part of it that it was worked on. */
  readonly workMs: number
}

interface WaitingQuery {
  readonly address: string
  readonly line: string
}

interface Held extends WaitingQuery {
  readonly go: () => void
  readonly fail: (err: Error) => void
}

export class Queries {
  /** How many there were. */
  total = 0
  /** How many had to wait until somebody worked on them. */
  waited = 0
  /** How many are being worked on. */
  processing = 0
  #workers = Infinity
  #closed = false
  readonly #held = new Set<Held>()
  readonly #ring = Array.from({ length: keptQueries }, () => ({
    address: '',
    line: '',
    elapsedMs: 0,
    workMs: 0,
  }))
  #finished = 0
  #heldBytes = 0

  /** How many work on queries: with none, queries wait; any number lets all through. */
  get workers(): number {
    return this.#workers
  }

  set workers(count: number) {
    this.#workers = count
    if (count === 0) return
    const waiting = [...this.#held]
    this.#held.clear()
    this.#heldBytes = 0
    for (const { go } of waiting) go()
  }

  /** Undefined when a query may begin; else what it waits for, which rejects with shutting_down or overloaded. */
  turn(line: string, address: string): Promise<void> | undefined {
    this.total++
    if (this.#workers > 0) return undefined
    if (this.#closed) return Promise.reject(shuttingDown())
    if (this.#heldBytes + line.length > maxHeldBytes) {
      return Promise.reject(new CodedError('overloaded', 'too many queries wait'))
    }
    this.#heldBytes += line.length
    this.waited++
    return new Promise((go, fail) => {
      this.#held.add({ address, line: keep(line), go, fail })
    })
  }

  begin(): void {
    this.processing++
  }

  /** Notes that a query is answered; the times of its beginning are those of `performance.now()`. */
  end(line: string, address: string, arrivedAt: number, begunAt: number): void {
    this.processing--
    const slot = this.#ring[this.#finished++ % keptQueries]!
    const now = performance.now()
    slot.address = address
    slot.line = keep(line)
    slot.elapsedMs = now - arrivedAt
    slot.workMs = now - begunAt
  }

  /** The last finished ones, oldest first. */
  recent(): RecentQuery[] {
    const count = Math.min(this.#finished, keptQueries)
    const first = this.#finished - count
    return Array.from({ length: count }, (_, i) => this.#ring[(first + i) % keptQueries]!)
  }

  /** Those that wait, oldest first. */
  waiting(): WaitingQuery[] {
    return [...this.#held]
  }

  /** Refuses those that wait: they were never begun. */
  close(): void {
    this.#closed = true
    for (const { fail } of this.#held) fail(shuttingDown())
    this.#held.clear()
  }
}

const shuttingDown = (): CodedError =>
  new CodedError('shutting_down', 'the tracker shuts down; nothing was done')

/** A copy where it is cut, since a part of a string keeps the whole of it in memory. */
function keep(line: string): string {
  if (line.length <= keptBytes) return line
  return Buffer.from(line.slice(0, keptBytes), 'latin1').toString('latin1')
}
