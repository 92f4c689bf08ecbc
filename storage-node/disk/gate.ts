/**
 * Keeps the calls to one disk apart from all others: only so many at a time take a thread, so many
 * more may wait, and one that does not come back trips a breaker. The threads of libuv are shared by
 * all disks of the process, so that without this one hung disk would stop every other.
 */
import { CodedError } from '../../common/errors.ts'

export interface GateOptions {
  /** Calls under way at most. */
  readonly limit: number
  /** Calls that may wait for one of them to end. */
  readonly waiting: number
  /** Milliseconds after which a call counts as hung. */
  readonly hangMs: number
  /** Milliseconds between two tries whether a hung disk answers again. */
  readonly probeMs: number
}

const threads = Number(process.env['UV_THREADPOOL_SIZE']) || 4

/** Most calls that one disk may have under way: half of the threads there are. */
export const maxFileCalls = Math.max(1, threads >> 1)

export const defaultGate: GateOptions = {
  limit: Math.min(8, maxFileCalls),
  waiting: 256,
  hangMs: 10_000,
  probeMs: 15_000,
}

type Done<T> = (err: NodeJS.ErrnoException | null, value?: T) => void

interface Call {
  startedAt: number
  readonly begin: () => void
  readonly reject: (err: Error) => void
}

export class Gate {
  readonly #devid: number
  readonly #options: GateOptions
  #limit: number
  readonly #probe: (done: Done<unknown>) => void
  readonly #active = new Set<Call>()
  readonly #waiting: Call[] = []
  #watch: NodeJS.Timeout | undefined
  #hungSince: number | undefined
  #probing = false
  #probedAt = 0

  /** `probe` makes a harmless call to the disk. */
  constructor(
    devid: number,
    probe: (done: Done<unknown>) => void,
    options: GateOptions = defaultGate,
  ) {
    this.#devid = devid
    this.#probe = probe
    this.#options = options
    this.#limit = options.limit
  }

  /** True while the disk does not answer. */
  get hung(): boolean {
    return this.#hungSince !== undefined
  }

  /** Calls under way at most, from now on. */
  set limit(calls: number) {
    this.#limit = calls
    while (this.#active.size < calls && this.#waiting.length > 0) this.#beginNext()
  }

  /**
   * Makes a call when its turn comes: `start` begins it and calls `done` at its end. Rejects with the
   * call's own error; with device_failed when the disk hangs, with overloaded when too many wait. A
   * call given up that way may still end later, so what it uses must not be used again.
   */
  run<T>(start: (done: Done<T>) => void): Promise<T> {
    if (this.#hungSince !== undefined) return Promise.reject(this.#hungError())
    return new Promise((resolve, reject) => {
      const call: Call = {
        startedAt: 0,
        reject,
        begin: () => {
          start((err, value) => {
            if (err) reject(err)
            else resolve(value as T)
            this.#ended(call)
          })
        },
      }
      if (this.#active.size < this.#limit) {
        this.#begin(call)
      } else if (this.#waiting.length < this.#options.waiting) {
        this.#waiting.push(call)
      } else {
        reject(new CodedError('overloaded', `too many requests wait for dev${this.#devid}`))
      }
    })
  }

  #begin(call: Call): void {
    call.startedAt = performance.now()
    this.#active.add(call)
    this.#watch ??= setInterval(() => this.#look(), this.#options.hangMs / 10).unref()
    call.begin()
  }

  #ended(call: Call): void {
    const counted = this.#active.delete(call)
    this.#hungSince = undefined
    if (!counted) return
    if (this.#active.size < this.#limit) this.#beginNext()
  }

  #beginNext(): void {
    const next = this.#waiting.shift()
    if (next) this.#begin(next)
  }

  #look(): void {
    const now = performance.now()
    if (this.#hungSince !== undefined) {
      this.#tryProbe(now)
      return
    }
    // The oldest is the first.
    const [oldest] = this.#active
    if (!oldest) {
      clearInterval(this.#watch)
      this.#watch = undefined
    } else if (now - oldest.startedAt >= this.#options.hangMs) {
      this.#trip(now)
    }
  }

  #trip(now: number): void {
    this.#hungSince = now
    this.#probedAt = now
    // They hold their threads until the disk answers; those who wait for them do not wait on.
    const calls = [...this.#active, ...this.#waiting.splice(0)]
    this.#active.clear()
    for (const { reject } of calls) reject(this.#hungError())
  }

  #tryProbe(now: number): void {
    if (this.#probing || now - this.#probedAt < this.#options.probeMs) return
    this.#probing = true
    this.#probedAt = now
    this.#probe(() => {
      this.#probing = false
      this.#hungSince = undefined
    })
  }

  #hungError(): CodedError {
    return new CodedError('device_failed', `the disk of dev${this.#devid} does not answer`)
  }
}
