/** One line per request: what was asked, who was asked in turn, and how it ended. */
import { closeSync, openSync } from 'node:fs'
import { pino } from 'pino'
import type { Logger } from '../../common/log.ts'
import { newRelayReport, type RelayReport } from '../reproxied/replicas.ts'

/** What is gathered of a request while it is served. */
export interface AccessRecord {
  readonly startedAt: number
  reqId: string
  client: string
  method: string
  host: string
  /** Path only: a query may hold a signature. */
  target: string
  version: string
  referer: string
  ua: string
  /** The application server that was asked last. */
  app: string
  appStatus: number
  appMs: number
  reproxy: 'none' | 'url' | 'file' | 'service' | 'direct'
  cache: 'none' | 'map-hit' | 'body-hit' | 'coalesced'
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
    version: '',
    referer: '',
    ua: '',
    app: '',
    appStatus: 0,
    appMs: 0,
    reproxy: 'none',
    cache: 'none',
    aborted: '',
    relay: newRelayReport(),
  }
}

export interface AccessLog {
  write(record: AccessRecord, end: AccessEnd): void
  /** Opens the file anew, after something has renamed it. */
  reopen(): void
  close(): void
}

export interface AccessLogOptions {
  /** A path, or `stdout`, where JSON lines go through the daemon's own log. */
  readonly path: string
  readonly format: 'json' | 'combined'
}

/** Milliseconds in which lines are gathered: a write for each would cost more than the line. */
const gatherMs = 50
const gatheredBytes = 131_072

/** Opens the log. Throws when its file cannot be written. */
export function openAccessLog({ path, format }: AccessLogOptions, log: Logger): AccessLog {
  if (path === 'stdout' && format === 'json') {
    return {
      write: (record, end) => log.info(jsonLine(record, end), 'request'),
      reopen: () => {},
      close: () => {},
    }
  }
  // What is opened later would fail when nobody can be told any more.
  if (path !== 'stdout') closeSync(openSync(path, 'a'))
  const dest = path === 'stdout' ? 1 : path
  // As bytes: a text that grows by pieces keeps the garbage collector copying all of them.
  const file = pino.destination({ dest, append: true, sync: false, contentMode: 'buffer' })
  file.on('error', (err: Error) => log.error({ err }, 'cannot write the access log'))
  const append = (bytes: Buffer): boolean => (file as unknown as ByteFile).write(bytes)
  const gathered = Buffer.allocUnsafeSlow(gatheredBytes)
  let length = 0
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (length > 0) append(Buffer.from(gathered.subarray(0, length)))
    length = 0
  }
  return {
    write(record, end) {
      // ASCII, so every character is a byte.
      const line = `${format === 'json' ? jsonText(record, end) : combined(record, end)}\n`
      if (line.length > gatheredBytes - length) flush()
      if (line.length > gatheredBytes) append(Buffer.from(line, 'latin1'))
      else length += gathered.write(line, length, 'latin1')
      timer ??= setTimeout(flush, gatherMs)
    },
    reopen() {
      flush()
      if (path !== 'stdout') file.reopen()
    },
    close() {
      flush()
      file.end()
    },
  }
}

/** What pino's destination is with `contentMode: 'buffer'`, whatever its types say. */
interface ByteFile {
  write(bytes: Buffer): boolean
}

const rounded = (ms: number): number => Math.round(ms * 10) / 10

/** The fields of a line. Being JSON, no value can forge another line or field. */
function jsonLine(record: AccessRecord, end: AccessEnd): object {
  const { relay } = record
  return {
    ts: new Date().toISOString(),
    reqId: record.reqId,
    client: record.client,
    method: record.method,
    host: record.host,
    target: record.target,
    ua: record.ua,
    app: record.app,
    appStatus: record.appStatus,
    reproxy: record.reproxy,
    cache: record.cache,
    aborted: record.aborted,
    appMs: rounded(record.appMs),
    status: end.status,
    bytesIn: end.bytesIn,
    bytesOut: end.bytesOut,
    durMs: rounded(performance.now() - record.startedAt),
    ttfbMs: end.ttfbMs === undefined ? null : rounded(end.ttfbMs),
    node: relay.node,
    attempts: relay.attempts.length,
    attemptList: relay.attempts,
    hedged: relay.hedged,
    resumed: relay.resumed > 0,
  }
}

/** The same as ASCII text, put together by hand, which takes a quarter of the time. */
function jsonText(record: AccessRecord, end: AccessEnd): string {
  const { relay } = record
  let attempts = ''
  for (const { node, outcome, ms } of relay.attempts) {
    if (attempts !== '') attempts += ','
    attempts += `{"node":${json(node)},"outcome":${json(outcome)},"ms":${ms}}`
  }
  return (
    `{"ts":"${timestamp()}","reqId":${json(record.reqId)},"client":${json(record.client)},` +
    `"method":${json(record.method)},"host":${json(record.host)},"target":${json(record.target)},` +
    `"ua":${json(record.ua)},"app":${json(record.app)},"appStatus":${record.appStatus},` +
    `"reproxy":"${record.reproxy}","cache":"${record.cache}","aborted":"${record.aborted}",` +
    `"appMs":${tenths(record.appMs)},"status":${end.status},"bytesIn":${end.bytesIn},"bytesOut":${end.bytesOut},` +
    `"durMs":${tenths(performance.now() - record.startedAt)},` +
    `"ttfbMs":${end.ttfbMs === undefined ? 'null' : tenths(end.ttfbMs)},"node":${json(relay.node)},` +
    `"attempts":${relay.attempts.length},"attemptList":[${attempts}],` +
    `"hedged":${relay.hedged},"resumed":${relay.resumed > 0}}`
  )
}

/** As `rounded`; whole numbers become text much faster than others. */
function tenths(ms: number): string {
  const count = Math.round(ms * 10)
  const rest = count % 10
  return rest === 0 ? `${count / 10}` : `${(count - rest) / 10}.${rest}`
}

let stamp = ''
let stampAt = 0

/** Now, as ISO 8601 has it; of many lines in one millisecond only the first one makes it. */
function timestamp(): string {
  const now = Date.now()
  if (now !== stampAt) {
    stampAt = now
    stamp = new Date(now).toISOString()
  }
  return stamp
}

/** A JSON string; most need no escaping. */
const json = (text: string): string =>
  /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(text)
    ? `"${text}"`
    : JSON.stringify(text).replace(/[^\x20-\x7e]/g, unicodeEscape)

const unicodeEscape = (char: string): string =>
  `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** The combined format of Apache and nginx, in UTC. */
function combined(record: AccessRecord, { status, bytesOut }: AccessEnd): string {
  const now = new Date()
  const two = (value: number): string => String(value).padStart(2, '0')
  const clock = [now.getUTCHours(), now.getUTCMinutes(), now.getUTCSeconds()].map(two).join(':')
  const day = `${two(now.getUTCDate())}/${months[now.getUTCMonth()]}/${now.getUTCFullYear()}`
  const request =
    record.method === '' ? '-' : `${record.method} ${record.target} HTTP/${record.version}`
  return (
    `${record.client || '-'} - - [${day}:${clock} +0000] "${quoted(request)}" ${status} ` +
    `${bytesOut} "${quoted(record.referer || '-')}" "${quoted(record.ua || '-')}"`
  )
}

/** Nothing in it may end the quotes or the line, or move a terminal's cursor. */
const quoted = (text: string): string =>
  text.replace(
    /[^\x20-\x21\x23-\x5b\x5d-\x7e]/g,
    char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
