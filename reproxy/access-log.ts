/** One line per request: what was asked, who was asked in turn, and how it ended. */
import type { Logger } from '../common/log.ts'
import type { RelayReport } from './relay.ts'

/** What is gathered of a request while it is served. */
export interface AccessRecord {
  readonly startedAt: number
  reqId: string
  client: string
  method: string
  host: string
  /** Path only: a query may hold a signature. */
  target: string
  ua: string
  app: string
  appStatus: number
  appMs: number
  reproxy: 'none' | 'url' | 'file' | 'service'
  aborted: 'client' | 'upstream' | ''
  readonly relay: RelayReport
}

/** What is known once it is over. */
export interface AccessEnd {
  readonly status: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Milliseconds until the head of the response. */
  readonly ttfbMs: number | undefined
}

/** A record of a request that begins now. */
export function newAccessRecord(client: string): AccessRecord {
  return {
    startedAt: performance.now(),
    reqId: '',
    client,
    method: '',
    host: '',
    target: '',
    ua: '',
    app: '',
    appStatus: 0,
    appMs: 0,
    reproxy: 'none',
    aborted: '',
    relay: { node: '', attempts: [], resumed: 0 },
  }
}

const rounded = (ms: number): number => Math.round(ms * 10) / 10

/** Writes the line. Being JSON, no value can forge another line or field. */
export function logAccess(log: Logger, record: AccessRecord, end: AccessEnd): void {
  const { startedAt, relay, appMs, ...rest } = record
  log.info(
    {
      ts: new Date().toISOString(),
      ...rest,
      appMs: rounded(appMs),
      status: end.status,
      bytesIn: end.bytesIn,
      bytesOut: end.bytesOut,
      durMs: rounded(performance.now() - startedAt),
      ttfbMs: end.ttfbMs === undefined ? null : rounded(end.ttfbMs),
      node: relay.node,
      attempts: relay.attempts.length,
      attemptList: relay.attempts,
      hedged: false,
      resumed: relay.resumed > 0,
      cache: 'none',
    },
    'request',
  )
}
