/**
 * HTTP requests to whichever tracker can answer. All trackers are equal: requests go to each in turn, from
 * a random start. After a failure the next tracker is asked, and the one that failed is left out for a
 * while. That is safe because a request that failed was either not done or done completely.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, type Dispatcher } from 'undici'
import { CodedError, isCoded, type ErrorCode } from '../../common/errors.ts'
import { readProblem } from '../answers.ts'

export interface TrackerPoolOptions {
  /** Base URLs: `http://127.0.0.1:7002`. */
  readonly trackers: readonly string[]
  /** Sent as `Authorization: Bearer`. */
  readonly token?: string | undefined
  /** Milliseconds to open a connection; 1000 by default. */
  readonly connectMs?: number | undefined
  /** Milliseconds for the answer of one tracker; 5000 by default. */
  readonly answerMs?: number | undefined
  /** Milliseconds for a request with all its tries; 10,000 by default. */
  readonly budgetMs?: number | undefined
}

export interface TrackerRequest<T> {
  readonly query?: Readonly<Record<string, string | undefined>> | undefined
  readonly body?: object | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * The request may be sent again even when it may have been done already. By default true for every
   * method but POST. When false, it is only sent again after tries that certainly changed nothing.
   */
  readonly idempotent?: boolean | undefined
  /**
   * Called when a tracker refuses, but an earlier try, whose answer was lost, may have done the work: the
   * refusal may only mean that. Returns the result, or throws.
   */
  readonly inDoubt?: ((refusal: CodedError) => T | Promise<T>) | undefined
  /** Milliseconds that the answer may take longer than usual. */
  readonly extraMs?: number | undefined
}

export interface TrackerPool {
  /**
   * Sends a request and returns its JSON, undefined for an empty answer. `path` begins with a slash.
   * Throws the tracker's own code, tracker_unreachable when no tracker answered in time, or the
   * signal's reason.
   */
  readonly request: <T>(
    method: Dispatcher.HttpMethod,
    path: string,
    options?: TrackerRequest<T>,
  ) => Promise<T>
  /** Ends all connections; requests under way fail. May be called twice. */
  readonly close: () => Promise<void>
}

interface Tracker {
  readonly origin: string
  /** Path before `/v1`, when a proxy serves the tracker below a path. */
  readonly prefix: string
  /** `host:port`, for messages. */
  readonly who: string
  /** It is left out until then, in the time of `performance.now()`. */
  restUntil: number
}

/** A try that failed, after which another one may succeed. */
interface Failure {
  readonly error: CodedError
  /** The tracker may have done the work all the same. */
  readonly doubtful: boolean
  readonly retryAfterMs?: number | undefined
}

/** A failed tracker is left out for this long, unless all have failed. */
const restMs = 5_000

/** A longer `Retry-After` is cut to this. */
const maxRetryAfterMs = 2_000

/** Refusals after which another try may succeed, and whether the work may have been done before. */
const passing: ReadonlyMap<ErrorCode, { doubtful: boolean }> = new Map([
  ['database_unavailable', { doubtful: true }],
  ['db', { doubtful: true }],
  ['tracker_unreachable', { doubtful: true }],
  ['shutting_down', { doubtful: false }],
  ['overloaded', { doubtful: false }],
  ['too_many_requests', { doubtful: false }],
])

/** Codes of requests that were never sent: no connection was made, or the name was not found. */
const unsent = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

/** undici's codes for a pool that was closed: no other try can succeed. */
const closed = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'])

/** Creates the pool. Throws bad_args when there is no tracker, or one is not an http URL. */
export function createTrackerPool({
  trackers,
  token,
  connectMs = 1_000,
  answerMs = 5_000,
  budgetMs = 10_000,
}: TrackerPoolOptions): TrackerPool {
  const pool = trackers.map(parseTracker)
  const pick = rotationOf(pool)
  const agent = new Agent({ connect: { timeout: connectMs }, connections: 64 })
  const baseHeaders = token === undefined ? {} : { authorization: `Bearer ${token}` }

  return {
    async request<T>(
      method: Dispatcher.HttpMethod,
      path: string,
      {
        query,
        body,
        signal,
        idempotent = method !== 'POST',
        inDoubt,
        extraMs = 0,
      }: TrackerRequest<T> = {},
    ): Promise<T> {
      const request = {
        method,
        path: path + queryText(query),
        headers: body ? { ...baseHeaders, 'content-type': 'application/json' } : baseHeaders,
        body: body ? JSON.stringify(body) : null,
      }
      const deadline = performance.now() + budgetMs
      let doubt = false
      let refusal: CodedError | undefined
      for (let tries = 1; ; tries++) {
        const tracker = pick()
        const timeoutMs = Math.min(answerMs, deadline - performance.now()) + extraMs
        const result = await tryOnce<T>(request, { agent, tracker, signal, timeoutMs }).catch(
          async (err: unknown) => {
            if (doubt && inDoubt && isCoded(err)) return { value: await inDoubt(err) }
            throw err
          },
        )
        if ('value' in result) {
          tracker.restUntil = 0
          return result.value
        }
        doubt ||= result.doubtful
        if (result.error.code !== 'tracker_unreachable') refusal = result.error
        tracker.restUntil = performance.now() + (result.retryAfterMs ?? restMs)
        const waitMs = pauseAfter(result, tries - pool.length)
        // As long as no tracker may have begun with it, the extra time for the work is not needed.
        const lastMs = deadline + (doubt ? extraMs : 0)
        const late = performance.now() + waitMs >= lastMs
        if (late || (doubt && !idempotent)) throw refusal ?? result.error
        await sleep(waitMs, undefined, signal && { signal }).catch(() => signal?.throwIfAborted())
        // A busy process sleeps longer than it meant to.
        if (performance.now() + 1 >= lastMs) throw refusal ?? result.error
      }
    },
    close: () => agent.destroy(),
  }
}

/**
 * Returns a function that picks a tracker: the next in turn that is not resting, or if all are, the one
 * that rests the shortest. Throws bad_args when there are none.
 */
function rotationOf(trackers: readonly Tracker[]): () => Tracker {
  if (trackers.length === 0) throw new CodedError('bad_args', 'name at least one tracker')
  let turn = Math.floor(Math.random() * trackers.length)
  return () => {
    const now = performance.now()
    const first = turn++
    let best: Tracker | undefined
    for (let i = 0; i < trackers.length; i++) {
      const tracker = trackers[(first + i) % trackers.length]
      if (!tracker) continue
      if (tracker.restUntil <= now) return tracker
      if (!best || tracker.restUntil < best.restUntil) best = tracker
    }
    return best as Tracker // there is at least one
  }
}

/** One try at one tracker: its answer, or a failure after which another try may succeed. Throws what is final. */
async function tryOnce<T>(
  request: Pick<Dispatcher.RequestOptions, 'method' | 'path' | 'headers' | 'body'>,
  {
    agent,
    tracker,
    signal,
    timeoutMs,
  }: { agent: Agent; tracker: Tracker; signal: AbortSignal | undefined; timeoutMs: number },
): Promise<{ value: T } | Failure> {
  try {
    const answer = await agent.request({
      ...request,
      origin: tracker.origin,
      path: tracker.prefix + request.path,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      ...(signal && { signal }),
    })
    if (answer.statusCode >= 200 && answer.statusCode < 300) {
      const text = await answer.body.text()
      return { value: (text === '' ? undefined : JSON.parse(text)) as T }
    }
    const { statusCode } = answer
    const { code, message } = await readProblem(answer)
    const gateway = [502, 503, 504].includes(statusCode)
    const error = new CodedError(
      code ?? (gateway ? 'tracker_unreachable' : 'failure'),
      message ?? `${tracker.who} answered ${statusCode}, and not as a tracker does`,
    )
    const pass = passing.get(error.code)
    if (!pass) throw error
    return { error, ...pass, retryAfterMs: retryAfter(answer.headers['retry-after']) }
  } catch (err) {
    signal?.throwIfAborted()
    if (isCoded(err)) throw err
    const { code, message } = err as { code?: string; message: string }
    const why = `${tracker.who}: ${message || code}`
    const error = new CodedError('tracker_unreachable', why, { cause: err })
    if (code !== undefined && closed.has(code)) throw error
    return { error, doubtful: code === undefined || !unsent.has(code) }
  }
}

/**
 * Milliseconds to wait before the next try. `round` is negative until every tracker was tried once:
 * then there is no pause. After that pauses double, so that an outage is not hammered.
 */
function pauseAfter({ retryAfterMs = 0 }: Failure, round: number): number {
  if (round < 0) return 0
  const pauseMs = Math.max(Math.min(50 * 2 ** round, 1_000), retryAfterMs)
  return pauseMs * (0.75 + Math.random() / 2)
}

function parseTracker(text: string): Tracker {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new CodedError('bad_args', `not the http URL of a tracker: ${JSON.stringify(text)}`)
  }
  const prefix = url.pathname.replace(/\/+$/, '')
  return { origin: url.origin, prefix, who: url.host, restUntil: 0 }
}

/** Values must be percent-encoded already: keys are, as bytes. */
function queryText(query: Readonly<Record<string, string | undefined>> = {}): string {
  const parts = Object.entries(query).flatMap(([k, v]) => (v === undefined ? [] : [`${k}=${v}`]))
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}

function retryAfter(header: string | string[] | undefined): number | undefined {
  const seconds = Number(header ?? Number.NaN)
  return seconds >= 0 ? Math.min(seconds * 1000, maxRetryAfterMs) : undefined
}
