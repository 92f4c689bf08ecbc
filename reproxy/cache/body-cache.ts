/**
 * Small hot files in memory. Only contents that never change are kept: those under MogileFS paths,
 * whose number belongs to one content for ever. An entry is known by every URL under which it may be
 * had, without their queries, since a signature differs from request to request.
 */
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import { S3Fifo } from './s3-fifo.ts'

export interface BodyCacheOptions {
  readonly maxBytes: number
  readonly maxFile: number
  readonly ttlMs: number
}

interface Entry {
  readonly names: readonly string[]
  readonly body: Buffer
  readonly expiresAt: number
}

const fidPath = /^(\/dev\d+\/(?:\d+\/)*(\d+)\.fid)(?:\?.*)?$/

/** Counted for each entry besides its bytes. */
const overhead = 512

function contentNames(targets: readonly Target[]): string[] | undefined {
  const names: string[] = []
  let content: string | undefined
  for (const target of targets) {
    const [, path, fid] = fidPath.exec(target.path) ?? []
    if (path === undefined || (content !== undefined && fid !== content)) return undefined
    content = fid
    names.push(target.node + path)
  }
  return names.length > 0 ? names : undefined
}

export class BodyCache {
  #options: BodyCacheOptions
  readonly #metrics: Metrics
  readonly #entries: S3Fifo<Entry>
  /** Of lists that are used again, as those of stored answers are. */
  readonly #names = new WeakMap<readonly Target[], readonly string[] | undefined>()
  /** The key of the entry behind each name. */
  readonly #keys = new Map<string, string>()

  constructor(options: BodyCacheOptions, metrics: Metrics) {
    this.#options = options
    this.#metrics = metrics
    this.#entries = new S3Fifo(options.maxBytes, entry => this.#forget(entry))
  }

  get options(): BodyCacheOptions {
    return this.#options
  }

  /** Bytes and entries that are kept. */
  get use(): { readonly bytes: number; readonly entries: number } {
    return { bytes: this.#entries.bytes, entries: this.#entries.count }
  }

  configure(options: BodyCacheOptions): void {
    this.#options = options
    this.#entries.resize(options.maxBytes)
  }

  /** The names of one content by its URLs; undefined unless all of them are of the same one. */
  namesOf(targets: readonly Target[]): readonly string[] | undefined {
    if (this.#names.has(targets)) return this.#names.get(targets)
    const names = contentNames(targets)
    this.#names.set(targets, names)
    return names
  }

  /** The content under any of `names`; one of another length than `size`, where that is known, is not it. */
  get(names: readonly string[], size: number | undefined): Buffer | undefined {
    for (const name of names) {
      const key = this.#keys.get(name)
      const entry = key === undefined ? undefined : this.#entries.get(key)
      if (key === undefined || !entry) continue
      if (entry.expiresAt <= performance.now()) this.#entries.delete(key)
      else if (size === undefined || entry.body.length === size) return entry.body
    }
    return undefined
  }

  /** Keeps a whole, verified body under `names`, unless it is too large. */
  set(names: readonly string[], body: Buffer): void {
    const [key] = names
    if (key === undefined || body.length > this.#options.maxFile) return
    for (const name of names) {
      const known = this.#keys.get(name)
      if (known !== undefined) this.#entries.delete(known)
    }
    for (const name of names) this.#keys.set(name, key)
    const entry = { names, body, expiresAt: performance.now() + this.#options.ttlMs }
    this.#metrics.cache('body', 'store')
    this.#entries.set(key, entry, body.length + overhead)
  }

  #forget({ names }: Entry): void {
    this.#metrics.cache('body', 'evict')
    for (const name of names) this.#keys.delete(name)
  }
}
