/**
 * A cache with a byte bound that a scan cannot wash out: S3-FIFO (Yang et al., "FIFO queues are all
 * you need for cache eviction", SOSP 2023). What is new enters a small queue; only what is asked for
 * again there, or comes back soon after it was dropped, gets into the main one.
 */

interface Entry<Value> {
  readonly key: string
  readonly value: Value
  readonly size: number
  /** Times it was asked for since it was last looked at; 3 at most. */
  hits: number
}

/** Share of the bytes that the small queue has before it evicts. */
const smallShare = 0.1
const maxHits = 3
/** Keys of dropped entries that are remembered. */
const maxGhosts = 10_000

export class S3Fifo<Value> {
  #maxBytes: number
  readonly #onEvict: (value: Value) => void
  readonly #small = new Map<string, Entry<Value>>()
  readonly #main = new Map<string, Entry<Value>>()
  readonly #ghosts = new Set<string>()
  #smallBytes = 0
  #mainBytes = 0

  constructor(maxBytes: number, onEvict: (value: Value) => void) {
    this.#maxBytes = maxBytes
    this.#onEvict = onEvict
  }

  /** Sum of the entries' sizes. */
  get bytes(): number {
    return this.#smallBytes + this.#mainBytes
  }

  get count(): number {
    return this.#small.size + this.#main.size
  }

  /** Changes the bound; what does not fit any more is evicted. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#shrink()
  }

  get(key: string): Value | undefined {
    const entry = this.#small.get(key) ?? this.#main.get(key)
    if (!entry) return undefined
    entry.hits = Math.min(maxHits, entry.hits + 1)
    return entry.value
  }

  /** Puts an entry in, in place of another of that key. One that is larger than the bound is not kept. */
  set(key: string, value: Value, size: number): void {
    this.delete(key)
    if (size > this.#maxBytes) {
      this.#onEvict(value)
      return
    }
    const entry = { key, value, size, hits: 0 }
    if (this.#ghosts.delete(key)) this.#addMain(entry)
    else {
      this.#small.set(key, entry)
      this.#smallBytes += size
    }
    this.#shrink()
  }

  /** Takes an entry out, if it is there. */
  delete(key: string): void {
    const entry = this.#small.get(key) ?? this.#main.get(key)
    if (!entry) return
    if (this.#small.delete(key)) this.#smallBytes -= entry.size
    else if (this.#main.delete(key)) this.#mainBytes -= entry.size
    this.#onEvict(entry.value)
  }

  #addMain(entry: Entry<Value>): void {
    entry.hits = 0
    this.#main.set(entry.key, entry)
    this.#mainBytes += entry.size
  }

  #shrink(): void {
    while (this.bytes > this.#maxBytes) {
      if (this.#smallBytes > this.#maxBytes * smallShare || this.#main.size === 0)
        this.#shrinkSmall()
      else this.#shrinkMain()
    }
  }

  #shrinkSmall(): void {
    const [entry] = this.#small.values()
    if (!entry) return
    this.#small.delete(entry.key)
    this.#smallBytes -= entry.size
    if (entry.hits > 0) {
      this.#addMain(entry)
      return
    }
    this.#ghosts.add(entry.key)
    const [oldest] = this.#ghosts
    if (this.#ghosts.size > maxGhosts && oldest !== undefined) this.#ghosts.delete(oldest)
    this.#onEvict(entry.value)
  }

  #shrinkMain(): void {
    const [entry] = this.#main.values()
    if (!entry) return
    this.#main.delete(entry.key)
    if (entry.hits > 0) {
      entry.hits--
      this.#main.set(entry.key, entry) // behind all others
      return
    }
    this.#mainBytes -= entry.size
    this.#onEvict(entry.value)
  }
}
