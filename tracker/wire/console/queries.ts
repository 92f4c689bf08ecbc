/**
 * The queries of all clients, as the console shows them: counted, the last ones kept, and held back
 * while those who are to work on them are busy. Every query passes here, so nothing is allocated for
 * it: the last ones lie in a ring of slots that are written over.
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
  readonly bytes: number
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

  /** How many queries are worked on at a time: with none, all wait. */
  get workers(): number {
    return this.#workers
  }

  set workers(count: number) {
    this.#workers = count
    this.#admit()
  }

  get #isBusy(): boolean {
    return this.processing >= this.#workers
  }

  /**
   * Undefined when a query is begun with this; else what it waits for, which rejects with
   * shutting_down or overloaded, and after which it is begun. `end` is then called for it.
   */
  turn(line: string, address: string): Promise<void> | undefined {
    this.total++
    if (!this.#isBusy) {
      this.processing++
      return undefined
    }
    if (this.#closed) return Promise.reject(shuttingDown())
    const bytes = line.length
    if (this.#heldBytes + bytes > maxHeldBytes) {
      return Promise.reject(new CodedError('overloaded', 'too many queries wait'))
    }
    this.#heldBytes += bytes
    this.waited++
    return new Promise((go, fail) => {
      this.#held.add({ address, line: keep(line), bytes, go, fail })
    })
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
    if (this.#held.size > 0) this.#admit()
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

  /** Begins those that wait, oldest first, as far as somebody is there for them. */
  #admit(): void {
    for (const held of this.#held) {
      if (this.#isBusy) return
      this.#held.delete(held)
      this.#heldBytes -= held.bytes
      this.processing++
      held.go()
    }
  }
}

const shuttingDown = (): CodedError =>
  new CodedError('shutting_down', 'the tracker shuts down; nothing was done')

/** A copy where it is cut, since a part of a string keeps the whole of it in memory. */
function keep(line: string): string {
  if (line.length <= keptBytes) return line
  return Buffer.from(line.slice(0, keptBytes), 'latin1').toString('latin1')
}
