/** What is counted, for Prometheus. Every series with a closed set of labels is there from the start. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export type FailoverPhase = 'connect' | 'head' | 'body'
export type HedgeResult = 'won' | 'lost' | 'failed'
export type CacheName = 'map' | 'body'
export type CacheEvent = 'hit' | 'miss' | 'store' | 'evict' | 'drop' | 'coalesced'
export type ShedReason = 'inflight' | 'budget' | 'app-queue'

const events: Readonly<Record<CacheName, readonly CacheEvent[]>> = {
  map: ['hit', 'miss', 'store', 'evict', 'drop'],
  body: ['hit', 'miss', 'store', 'evict', 'coalesced'],
}

/** How a breaker's state is shown. */
const breakerValues = { closed: 0, 'half-open': 1, open: 2 } as const

/**
 * A counter that is given to Prometheus when somebody looks: finding the series of its labels each
 * time would take longer than all else that is done for the figures.
 */
class Tally {
  /** By the values of the labels, of which there are at most two. */
  readonly #counts = new Map<string, Map<string, { count: number }>>()

  constructor(
    registry: Registry,
    { name, help, labels }: { name: string; help: string; labels: readonly string[] },
  ) {
    const counts = this.#counts
    new Counter({
      name: `reproxy_${name}`,
      help,
      labelNames: [...labels],
      registers: [registry],
      collect() {
        this.reset()
        for (const [first, seconds] of counts) {
          for (const [second, { count }] of seconds) {
            const values = [first, second]
            this.inc(Object.fromEntries(labels.map((label, i) => [label, values[i]])), count)
          }
        }
      },
    })
    if (labels.length === 0) this.add(0)
  }

  /** Counts under the values of the labels. */
  add(count = 1, first = '', second = ''): void {
    const cell = this.#counts.get(first)?.get(second)
    if (cell) cell.count += count
    else this.#begin(count, first, second)
  }

  #begin(count: number, first: string, second: string): void {
    const seconds = this.#counts.get(first)
    if (seconds) seconds.set(second, { count })
    else this.#counts.set(first, new Map([[second, { count }]]))
  }
}

export class Metrics {
  readonly registry = new Registry()
  readonly #requests = this.#tally('requests_total', 'Finished requests', 'code')
  readonly #attempts = this.#tally(
    'storage_attempts_total',
    'Requests to storage nodes',
    'node',
    'outcome',
  )
  readonly #denied = this.#tally('denied_targets_total', 'Targets that are not allowed')
  readonly #bytesOut = this.#tally('bytes_out_total', 'Bytes of bodies sent to clients')
  readonly #ttfb = new Histogram({
    name: 'reproxy_ttfb_seconds',
    help: 'Time from the request to the head of its answer',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  })
  readonly #failovers = this.#tally('failovers_total', 'Attempts given up for another', 'phase')
  readonly #hedges = this.#tally('hedges_total', 'Second requests beside slow ones', 'result')
  readonly #cache = this.#tally('cache_events_total', 'What the caches did', 'cache', 'event')
  readonly #shed = this.#tally('shed_total', 'Requests and retries turned away', 'reason')

  /** `inflight` and `breakers` are asked when somebody looks. */
  constructor(sources: {
    readonly inflight: () => number
    readonly breakers: () => Iterable<readonly [node: string, state: keyof typeof breakerValues]>
  }) {
    new Gauge({
      name: 'reproxy_inflight',
      help: 'Client requests in progress',
      registers: [this.registry],
      collect() {
        this.set(sources.inflight())
      },
    })
    new Gauge({
      name: 'reproxy_breaker_state',
      help: 'Of each node: 0 closed, 1 about to be tried again, 2 open',
      labelNames: ['node'],
      registers: [this.registry],
      aggregator: 'max', // of several processes
      collect() {
        this.reset()
        for (const [node, state] of sources.breakers()) this.set({ node }, breakerValues[state])
      },
    })
    for (const phase of ['connect', 'head', 'body'] as const) this.#failovers.add(0, phase)
    for (const result of ['won', 'lost', 'failed'] as const) this.#hedges.add(0, result)
    for (const reason of ['inflight', 'budget', 'app-queue'] as const) this.#shed.add(0, reason)
    for (const cache of ['map', 'body'] as const) {
      for (const event of events[cache]) this.#cache.add(0, cache, event)
    }
  }

  /** A request that is over; `firstByteMs` until the head of its answer, if it had one. */
  request(status: number, bytes = 0, firstByteMs?: number): void {
    this.#requests.add(1, String(status))
    this.#bytesOut.add(bytes)
    if (firstByteMs !== undefined) this.#ttfb.observe(firstByteMs / 1000)
  }

  attempt(node: string, outcome: string): void {
    this.#attempts.add(1, node, outcome)
  }

  denied(): void {
    this.#denied.add()
  }

  failover(phase: FailoverPhase): void {
    this.#failovers.add(1, phase)
  }

  hedge(result: HedgeResult): void {
    this.#hedges.add(1, result)
  }

  cache(cache: CacheName, event: CacheEvent): void {
    this.#cache.add(1, cache, event)
  }

  shed(reason: ShedReason): void {
    this.#shed.add(1, reason)
  }

  #tally(name: string, help: string, ...labels: readonly string[]): Tally {
    return new Tally(this.registry, { name, help, labels })
  }
}
