/**
 * What applications said of where files are, kept for as long as they allowed: the application is not
 * asked again meanwhile. Of one URL several variants may live side by side, as the answer's Vary tells.
 */
import { membersOf, valueOf, valuesOf, type Field } from '../http/headers.ts'
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import type { CacheFor } from './cache-for.ts'

/** What is kept of an answer. */
export interface MapEntry {
  readonly targets: readonly Target[]
  readonly expectedSize: number | undefined
  /** The fields that the application named, without those that are ours. */
  readonly fields: readonly Field[]
  readonly storedAt: number
  readonly expiresAt: number
}

interface Variant extends MapEntry {
  /** Request fields that chose this answer, with their values. */
  readonly chosenBy: readonly (readonly [name: string, value: string | undefined])[]
}

export interface MapKey {
  readonly host: string | undefined
  /** With query. */
  readonly target: string
  /** Of the request. */
  readonly fields: readonly Field[]
}

/** Fields that are made anew for each answer. */
const ours: ReadonlySet<string> = new Set(['age', 'via', 'x-request-id'])

/** Variants of one URL; the oldest goes first. */
const maxVariants = 32

const keyOf = ({ host = '', target }: Pick<MapKey, 'host' | 'target'>): string =>
  `${host.toLowerCase()} ${target}`

export class MapCache {
  readonly #metrics: Metrics
  #maxEntries: number
  #count = 0
  /** In order of their last use. */
  readonly #urls = new Map<string, Variant[]>()

  constructor(maxEntries: number, metrics: Metrics) {
    this.#maxEntries = maxEntries
    this.#metrics = metrics
  }

  get size(): number {
    return this.#count
  }

  configure(maxEntries: number): void {
    this.#maxEntries = maxEntries
    this.#shrink()
  }

  find(request: MapKey): MapEntry | undefined {
    if (this.#count === 0) return undefined
    const key = keyOf(request)
    const variants = this.#urls.get(key)
    const now = performance.now()
    const found = variants?.find(variant => isFor(variant, request.fields))
    if (!variants || !found) return undefined
    if (found.expiresAt <= now) {
      this.#remove(key, found)
      return undefined
    }
    this.#urls.delete(key)
    this.#urls.set(key, variants)
    return found
  }

  /** Keeps an answer. `response` are its fields, `shown` those that a client may see. */
  store(
    request: MapKey,
    { seconds, names }: CacheFor,
    answer: {
      readonly targets: readonly Target[]
      readonly expectedSize: number | undefined
      readonly response: readonly Field[]
      readonly shown: readonly Field[]
    },
  ): void {
    const vary = membersOf(answer.response, 'vary').map(name => name.toLowerCase())
    if (this.#maxEntries === 0 || vary.includes('*')) return
    const now = performance.now()
    const variant: Variant = {
      targets: answer.targets,
      expectedSize: answer.expectedSize,
      fields: answer.shown.filter(
        ([name]) => names.has(name.toLowerCase()) && !ours.has(name.toLowerCase()),
      ),
      storedAt: now,
      expiresAt: now + seconds * 1000,
      chosenBy: vary.map(name => [name, valueOf(request.fields, name)] as const),
    }
    const key = keyOf(request)
    const others = (this.#urls.get(key) ?? []).filter(other => !isFor(other, request.fields))
    this.#drop(key)
    const kept = [...others.slice(-(maxVariants - 1)), variant]
    this.#urls.set(key, kept)
    this.#count += kept.length
    this.#metrics.cache('map', 'store')
    this.#shrink()
  }

  /** Forgets an entry that `find` gave. */
  remove(request: MapKey, entry: MapEntry): void {
    this.#remove(keyOf(request), entry)
    this.#metrics.cache('map', 'drop')
  }

  /** Forgets all that is known of a URL. */
  purge(url: Pick<MapKey, 'host' | 'target'>): void {
    if (this.#drop(keyOf(url))) this.#metrics.cache('map', 'drop')
  }

  #remove(key: string, entry: MapEntry): void {
    const variants = this.#urls.get(key)
    const at = variants?.indexOf(entry as Variant) ?? -1
    if (!variants || at === -1) return
    variants.splice(at, 1)
    this.#count--
    if (variants.length === 0) this.#urls.delete(key)
  }

  #drop(key: string): boolean {
    const variants = this.#urls.get(key)
    if (!variants) return false
    this.#count -= variants.length
    return this.#urls.delete(key)
  }

  #shrink(): void {
    for (const key of this.#urls.keys()) {
      if (this.#count <= this.#maxEntries) return
      this.#drop(key)
      this.#metrics.cache('map', 'evict')
    }
  }
}

const isFor = ({ chosenBy }: Variant, fields: readonly Field[]): boolean =>
  chosenBy.every(([name, value]) => valuesOf(fields, name).join(', ') === (value ?? ''))
