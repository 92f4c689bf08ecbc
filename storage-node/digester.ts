/** Digests of the files of one device, taken one after another in a thread of their own. */
import { Worker } from 'node:worker_threads'
import type { DigestJob, DigestResult } from './digest-worker.ts'
import type { Algorithm, Digests } from './digests.ts'

/** The digests of a file, and its size in bytes. */
export interface FileDigests {
  readonly digests: Digests
  readonly size: number
}

/** Reading failed. `code` is the system's (`ENOENT`), `offset` where; undefined before the first byte. */
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

/** Bytes a second that one device is read for digests. */
const bytesPerSecond = 128 * 1024 * 1024

/** Milliseconds that an idle thread stays. */
const idleMs = 10_000

export class Digester {
  readonly #urgent: Waiting[] = []
  readonly #patient: Waiting[] = []
  #current: Waiting | undefined
  #worker: Worker | undefined
  #idle: NodeJS.Timeout | undefined
  #count = 0

  /** Reads a file (absolute path). Patient jobs wait until no other does. Throws DigestError. */
  digest(
    path: string,
    algorithms: readonly Algorithm[],
    { patient = false }: { readonly patient?: boolean } = {},
  ): Promise<FileDigests> {
    return new Promise((resolve, reject) => {
      const queue = patient ? this.#patient : this.#urgent
      queue.push({ path, algorithms, resolve, reject })
      this.#next()
    })
  }

  /** Ends the thread; what waits is rejected. */
  close(): void {
    clearTimeout(this.#idle)
    for (const job of [...this.#urgent.splice(0), ...this.#patient.splice(0)]) {
      job.reject(new DigestError('ECANCELED', undefined))
    }
    // A thread that hangs in a read ends when that does.
    void this.#worker?.terminate()
  }

  #next(): void {
    if (this.#current) return
    const job = this.#urgent.shift() ?? this.#patient.shift()
    clearTimeout(this.#idle)
    if (!job) {
      this.#idle = setTimeout(() => void this.#worker?.terminate(), idleMs).unref()
      return
    }
    this.#current = job
    const { path, algorithms } = job
    const message: DigestJob = { id: ++this.#count, path, algorithms, bytesPerSecond }
    this.#thread().postMessage(message)
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(new URL('./digest-worker.js', import.meta.url))
    // It must not keep the process alive.
    worker.unref()
    worker.on('message', (result: DigestResult) => this.#ended(result))
    worker.on('error', () => {}) // 'exit' follows
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
      this.#ended({ id: this.#count, code: 'ECANCELED', offset: undefined })
    })
    this.#worker = worker
    return worker
  }

  #ended(result: DigestResult): void {
    const job = this.#current
    if (!job || result.id !== this.#count) return
    this.#current = undefined
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
