/** What requests to storage nodes have in common: targets, and answers that are errors. */
import type { Dispatcher } from 'undici'
import { CodedError } from '../common/errors.ts'
import { readProblem } from './answers.ts'

/** What a node said about what it stored; a foreign server says nothing. */
export interface PutAnswer {
  readonly receipt?: string
  /** Lower-case hex. */
  readonly sha256?: string
  /** Of a file that is not complete yet: the bytes that are there. */
  readonly offset?: number
}

/** Where a request goes. */
export interface Target {
  readonly origin: string
  readonly path: string
  /** `host:port`, for messages. */
  readonly who: string
}

/** Targets by what stands before the path of their URLs; nodes are few. */
const origins = new Map<string, Pick<Target, 'origin' | 'who'>>()

/** A path that a URL parser would leave as it is. */
const plainPath = /^(?:\/[\w-]+(?:\.[\w-]+)*)+(?:\?[\w.~&=%-]*)?$/

/** Splits a URL. Throws storage_unreachable unless it is an http one. */
export function parse(url: string): Target {
  const end = url.indexOf('/', 8)
  const known = origins.get(url.slice(0, end))
  const rest = url.slice(end)
  if (known && plainPath.test(rest)) return { ...known, path: rest }
  const target = parseAny(url)
  if (origins.size > 1000) origins.clear()
  if (end > 0 && url.slice(0, end) === target.origin) {
    origins.set(target.origin, { origin: target.origin, who: target.who })
  }
  return target
}

function parseAny(url: string): Target {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    throw new CodedError('storage_unreachable', 'not an http URL of a storage node')
  }
  return { origin: parsed.origin, path: parsed.pathname + parsed.search, who: parsed.host }
}

/** True for 2xx. */
export const isSuccess = ({ statusCode }: Dispatcher.ResponseData): boolean =>
  statusCode >= 200 && statusCode < 300

/** The error that an answer stands for. */
export async function failure(
  { who }: Target,
  answer: Dispatcher.ResponseData,
): Promise<CodedError> {
  return refusal({ who }, answer.statusCode, await readProblem(answer))
}

/** The same of an answer that may say why. */
export function refusal(
  { who }: Pick<Target, 'who'>,
  statusCode: number,
  { code, message }: Partial<Awaited<ReturnType<typeof readProblem>>> = {},
): CodedError {
  const fallback = statusCode === 404 ? 'not_found' : 'storage_unreachable'
  const said = message === undefined ? '' : `: ${message}`
  return new CodedError(code ?? fallback, `${who} answered ${statusCode}${said}`)
}

/** The error for a request that got no answer. */
export function unreachable({ who }: Target, cause: unknown): CodedError {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new CodedError('storage_unreachable', `${who}: ${message}`, { cause })
}

/** True when a kept connection was closed under a request. */
export function isClosed(err: unknown): boolean {
  const code = (err as { code?: unknown }).code
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

/** Reads Content-Length. Throws storage_unreachable. */
export function lengthOf({ who }: Target, header: string | string[] | undefined): number {
  const size = Number(header ?? Number.NaN)
  if (Number.isSafeInteger(size) && size >= 0) return size
  throw new CodedError('storage_unreachable', `${who} answered without a length`)
}

/** The fields for `length` bytes of a file from `first` on; for none, the question how many are there. */
export function partFields(
  { first, total }: { readonly first: number; readonly total: number },
  length: number,
): Record<string, string> {
  if (length > 0) return { 'content-range': `bytes ${first}-${first + length - 1}/${total}` }
  return { 'content-range': `bytes */${total}`, ...(first > 0 && { 'omg-from': String(first) }) }
}

/** What an answer says about what was stored. */
export function putAnswer(headers: Dispatcher.ResponseData['headers']): PutAnswer {
  const receipt = headers['omg-receipt']
  const offset = headers['omg-offset']
  const digest = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(String(headers['repr-digest']))
  return {
    ...(typeof receipt === 'string' && { receipt }),
    ...(offset !== undefined && { offset: Number(offset) }),
    ...(digest?.[1] && { sha256: Buffer.from(digest[1], 'base64').toString('hex') }),
  }
}
