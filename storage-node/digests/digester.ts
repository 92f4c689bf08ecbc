/** Digests of the files of one device, taken one after another in a thread of their own. */
import { Worker } from 'node:worker_threads'
import type { DigestJob, DigestResult } from './digest-worker.ts'
import type { Algorithm, Digests } from './digests.ts'

/** The digests of a file, and its size in bytes. */
export interface FileDigests {
  readonly digests: Digests
  readonly size: number
}

/**
 * Reading failed. `code` is the system's (`ENOENT`), `ETIMEDOUT` when the disk does not answer;
 * `offset` is where, undefined before the first byte.
 */
export class DigestError extends Error {
  override readonly name = 'DigestError'
  readonly code: string
  readonly offset: number | undefined

  constructor(code: string, offset: number | undefined) {
    super(`${code}: reading for a digest failed`)
    this.code = code
    this.offset = offset
  }
}

interface Waiting {
  readonly path: string
  readonly algorithms: readonly Algorithm[]
  readonly resolve: (result: FileDigests) => void
  readonly reject: (err: Error) => void
}

/** Bytes a second that one device is read for digests, beside what it serves. */
const gentleRate = 128 * 1024 * 1024

/** Milliseconds that an idle thread stays. */
const idleMs = 10_000

/** Milliseconds without a read after which the disk is taken to hang. */
const hangMs = 10_000

export class Digester {
  readonly #waiting: Waiting[] = []
  #current: Waiting | undefined
  #worker: Worker | undefined
  /** A thread that the disk holds; until it lets go, no other is sent after it. */
  #stuck: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #count = 0
  readonly #reads = new Int32Array(new SharedArrayBuffer(4))
  readonly #bytesPerSecond: number
  #watch: NodeJS.Timeout | undefined

  /** `bytesPerSecond` bounds how fast it reads. */
  constructor({ bytesPerSecond = gentleRate }: { readonly bytesPerSecond?: number } = {}) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Reads a file (absolute path) when its turn comes. Throws DigestError. */
  digest(path: string, algorithms: readonly Algorithm[]): Promise<FileDigests> {
    if (this.#stuck) return Promise.reject(new DigestError('ETIMEDOUT', undefined))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ path, algorithms, resolve, reject })
      this.#next()
    })
  }

  /** Ends the thread; what waits is rejected. */
  close(): void {
    clearTimeout(this.#idle)
    clearInterval(this.#watch)
    for (const job of this.#waiting.splice(0)) job.reject(new DigestError('ECANCELED', undefined))
    // A thread that hangs in a read ends when that does.
    void this.#worker?.terminate()
  }

  #next(): void {
    if (this.#current) return
    const job = this.#waiting.shift()
    clearTimeout(this.#idle)
    if (!job) {
      this.#idle = setTimeout(() => this.#retire(), idleMs).unref()
      return
    }
    this.#current = job
    const { path, algorithms } = job
    const bytesPerSecond = this.#bytesPerSecond
    const message: DigestJob = { id: ++this.#count, path, algorithms, bytesPerSecond }
    this.#thread().postMessage(message)
    this.#watchReads()
  }

  /** Gives the job under way up, and those behind it, when the disk does not answer. */
  #watchReads(): void {
    let seen = -1
    let since = 0
    clearInterval(this.#watch)
    this.#watch = setInterval(() => {
      const reads = Atomics.load(this.#reads, 0)
      const now = performance.now()
      if (reads !== seen) {
        seen = reads
        since = now
      } else if (now - since >= hangMs) {
        this.#giveUp()
      }
    }, hangMs / 10).unref()
  }

  #giveUp(): void {
    clearInterval(this.#watch)
    const jobs = [this.#current, ...this.#waiting.splice(0)]
    this.#current = undefined
    this.#stuck = this.#worker
    this.#worker = undefined
    void this.#stuck?.terminate()
    for (const job of jobs) job?.reject(new DigestError('ETIMEDOUT', undefined))
  }

  /** Lets an idle thread go; it takes a while to end, and what comes meanwhile gets a new one. */
  #retire(): void {
    const worker = this.#worker
    this.#worker = undefined
    void worker?.terminate()
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./digest-worker.js', import.meta.url), {
      workerData: this.#reads,
    })
    // It must not keep the process alive.
    worker.unref()
    worker.on('message', (result: DigestResult) => this.#ended(result))
    worker.on('error', () => {}) // 'exit' follows
    worker.on('exit', () => {
      if (this.#stuck === worker) this.#stuck = undefined
      if (this.#worker !== worker) return
      this.#worker = undefined
      this.#ended({ id: this.#count, code: 'ECANCELED', offset: undefined })
    })
    this.#worker = worker
    return worker
  }

  #ended(result: DigestResult): void {
    const job = this.#current
    if (!job || result.id !== this.#count) return
    this.#current = undefined
    clearInterval(this.#watch)
    if ('code' in result) job.reject(new DigestError(result.code, result.offset))
    else {
      const { size, digests } = result
      const buffers = Object.entries(digests).map(
        ([algorithm, bytes]) => [algorithm, Buffer.from(bytes)] as const,
      )
      job.resolve({ size, digests: Object.fromEntries(buffers) })
    }
    this.#next()
  }
}
