/**
 * Requests that miss the same content at the same time share one fetch. It belongs to none of them:
 * whoever leaves, even the first, harms nobody, and a slow client delays nobody. It ends early only
 * when all have left.
 */
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import { holdBody, type FirstReplica } from '../reproxied/relay.ts'
import { judgeFirst } from '../reproxied/replica-answer.ts'
import { isAsTold } from '../reproxied/told-digest.ts'
import {
  newRelayReport,
  Replicas,
  type RelayOptions,
  type RelayReport,
} from '../reproxied/replicas.ts'
import { Cancel } from '../upstream/cancel.ts'
import type { BodyCache } from './body-cache.ts'

/** A file too large to keep, of which the head has come: one of the requests goes on with it. */
export interface Handover {
  readonly replicas: Replicas
  readonly first: FirstReplica
  readonly report: RelayReport
  readonly abort: Cancel
}

export type Fetched =
  | { readonly kind: 'body'; readonly body: Buffer; readonly node: string }
  | { readonly kind: 'large'; take(): Handover | undefined }
  | { readonly kind: 'unavailable' }

export interface FetchJob {
  /** What the content is called. */
  readonly names: readonly string[]
  readonly targets: readonly Target[]
  readonly expectedSize: number | undefined
  /** In base64, what the content is held to. */
  readonly sha256: string | undefined
  /** Of the request that waits. */
  readonly cancel: Cancel
}

interface Flight {
  readonly key: string
  readonly result: Promise<Fetched>
  readonly abort: Cancel
  readonly report: RelayReport
  waiting: number
}

export interface SharedFetches {
  /**
   * Joins the fetch of this content or begins one; undefined when there is no room for one more. The
   * one who began it has its `report`. Rejects when the request is given up.
   */
  join(
    job: FetchJob,
  ):
    | { readonly result: Promise<Fetched>; readonly report: RelayReport; readonly first: boolean }
    | undefined
}

/** Creates the place where they meet. */
export function createSharedFetches(
  cache: BodyCache,
  options: RelayOptions,
  metrics: Metrics,
): SharedFetches {
  const flights = new Map<string, Flight>()

  async function run(
    { names, targets, expectedSize, sha256 }: FetchJob,
    report: RelayReport,
    abort: Cancel,
  ): Promise<Fetched> {
    const replicas = new Replicas({ targets, method: 'GET', cancel: abort }, report, options)
    const wanted = { range: undefined, expectedSize }
    for (;;) {
      const first = await replicas.next('', head => judgeFirst(head, wanted))
      if (!first) return { kind: 'unavailable' }
      const { answer } = first
      const small = answer.size !== undefined && answer.size <= cache.options.maxFile
      // Without a range every answer is whole.
      if (!small || answer.kind !== 'whole') return handover({ replicas, first, report, abort })
      const body = await holdBody(replicas, { ...first, answer })
      if (!body) return { kind: 'unavailable' }
      if (isAsTold(body, sha256)) {
        cache.set(names, body)
        return { kind: 'body', body, node: report.node }
      }
      replicas.wrong()
    }
  }

  function handover(replica: Handover): Fetched {
    let left: Handover | undefined = replica
    return {
      kind: 'large',
      take() {
        const taken = left
        left = undefined
        return taken
      },
    }
  }

  function begin(job: FetchJob, key: string): Flight {
    const abort = new Cancel()
    const report = newRelayReport()
    const result = run(job, report, abort).finally(() => {
      if (flights.get(key)?.abort === abort) flights.delete(key)
    })
    result.catch(() => {}) // told to whoever still waits
    const flight = { key, result, abort, report, waiting: 0 }
    flights.set(key, flight)
    return flight
  }

  async function wait(flight: Flight, cancel: Cancel): Promise<Fetched> {
    flight.waiting++
    try {
      return await untilAborted(flight.result, cancel)
    } finally {
      flight.waiting--
      if (flight.waiting === 0 && cancel.aborted) {
        flight.abort.abort()
        // Nobody may join what is being given up.
        if (flights.get(flight.key) === flight) flights.delete(flight.key)
      }
    }
  }

  return {
    join(job) {
      const expected = `${job.expectedSize ?? ''} ${job.sha256 ?? ''}`
      const key = `${expected} ${job.names[0]}`
      const known = job.names
        .map(name => flights.get(`${expected} ${name}`))
        .find(flight => flight !== undefined)
      if (known) {
        metrics.cache('body', 'coalesced')
        return { result: wait(known, job.cancel), report: known.report, first: false }
      }
      const { maxBytes, maxFile } = cache.options
      // Bodies on their way count as well as those that are kept.
      if ((flights.size + 1) * maxFile > Math.max(maxBytes, maxFile)) return undefined
      const flight = begin(job, key)
      return { result: wait(flight, job.cancel), report: flight.report, first: true }
    },
  }
}

function untilAborted<T>(promise: Promise<T>, cancel: Cancel): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error('the client has left'))
    cancel.add(onAbort)
    if (cancel.aborted) onAbort()
    promise.then(resolve, reject).finally(() => cancel.remove(onAbort))
  })
}
