/**
 * Short file calls of one device that come together, made in a row by a thread of its own: for the
 * work on many small files, where a turn in the thread pool costs more than the call. Each group is
 * one call to the device's gate.
 */
import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { Call, CallGroup, CallResult, Created, GroupResult } from './disk-worker.ts'

/** Calls in one group, so that a slow disk is not taken for one that hangs; groups under way at once. */
const mostCalls = 16
const mostGroups = 2

/** Milliseconds that an idle thread stays. */
const idleMs = 10_000

interface Waiting {
  readonly call: Call
  readonly resolve: (value: unknown) => void
  readonly reject: (err: Error) => void
}

type Run = <T>(start: (done: (err: null, value: T) => void) => void) => Promise<T>

export class DiskThread {
  readonly #run: Run
  #waiting: Waiting[] = []
  #underWay = 0
  #scheduled = false
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #count = 0
  readonly #asked = new Map<number, (results: readonly CallResult[]) => void>()

  /** `run` is that of the device's gate. */
  constructor(run: Run) {
    this.#run = run
  }

  /** Makes a call when its turn comes. Rejects with what the system says, and with what the gate does. */
  call<T>(call: Call): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ call, resolve: value => resolve(value as T), reject })
      if (this.#scheduled) return
      this.#scheduled = true
      // All that this turn of the event loop brings goes together.
      setImmediate(() => this.#flush())
    })
  }

  /** Ends the thread; what is under way is rejected. */
  async close(): Promise<void> {
    clearTimeout(this.#idle)
    await this.#worker?.terminate()
  }

  #flush(): void {
    this.#scheduled = false
    while (this.#underWay < mostGroups && this.#waiting.length > 0) {
      this.#underWay++
      void this.#makeAll(this.#waiting.splice(0, mostCalls)).finally(() => {
        this.#underWay--
        this.#flush()
      })
    }
  }

  async #makeAll(group: readonly Waiting[]): Promise<void> {
    let givenUp = false
    try {
      const results = await this.#run<readonly CallResult[]>(done => {
        const calls = group.map(({ call }) => call)
        this.#ask(calls, made => {
          if (givenUp) closeAll(calls, made)
          done(null, made)
        })
      })
      for (const [i, { resolve, reject }] of group.entries()) {
        const result = results[i]
        if (result && 'value' in result) resolve(result.value)
        else reject(systemError(result))
      }
    } catch (err) {
      givenUp = true
      for (const { reject } of group) reject(err as Error)
    }
  }

  #ask(calls: readonly Call[], answer: (results: readonly CallResult[]) => void): void {
    const group: CallGroup = { id: ++this.#count, calls }
    this.#asked.set(group.id, answer)
    clearTimeout(this.#idle)
    this.#thread().postMessage(group)
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./disk-worker.js', import.meta.url), {
      // The files that it opens are closed here: at its end it would close what has their numbers then.
      trackUnmanagedFds: false,
    })
    // It must not keep the process alive.
    worker.unref()
    worker.on('message', ({ id, results }: GroupResult) => {
      const answer = this.#asked.get(id)
      this.#asked.delete(id)
      answer?.(results)
      if (this.#asked.size === 0) {
        this.#idle = setTimeout(() => this.#retire(), idleMs).unref()
      }
    })
    worker.on('error', () => {}) // 'exit' follows
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      const asked = [...this.#asked.values()]
      this.#asked.clear()
      for (const answer of asked) answer([])
    })
    this.#worker = worker
    return worker
  }

  /** Lets an idle thread go; it takes a while to end, and what comes meanwhile gets a new one. */
  #retire(): void {
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }
}

/** Closes the files that nobody waits for any more; their names are swept. */
function closeAll(calls: readonly Call[], results: readonly CallResult[]): void {
  for (const [i, [name]] of calls.entries()) {
    const result = results[i]
    if (name === 'create' && result && 'value' in result) closeSync((result.value as Created).fd)
  }
}

/** As the file calls of Node have it; undefined: the thread has ended. */
function systemError(result: { code: string; message: string } | undefined): Error {
  const { code, message } = result ?? { code: 'ECANCELED', message: 'the thread has ended' }
  return Object.assign(new Error(message), { code })
}
