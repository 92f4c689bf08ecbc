/**
 * What a client's request must look like before anything of it is passed on. node's parser refuses
 * most malformed heads; these are the checks it leaves to us, each of them a way to make two servers
 * read one connection differently (RFC 9112 §11.2) when it is left out.
 */
import { isIPv6 } from 'node:net'
import { valuesOf, type Field } from '../http/headers.ts'

export interface RequestHead {
  readonly method: string
  /** The request target as it stood in the request line. */
  readonly target: string
  readonly version: string
  readonly fields: readonly Field[]
}

export interface HeadLimits {
  readonly maxHeaderBytes: number
  readonly maxTargetBytes: number
}

export interface GoodRequest {
  readonly kind: 'good'
  /** What the application gets in its request line: origin-form, or `*`. */
  readonly target: string
  /** The authority it was sent to; undefined only in HTTP/1.0. */
  readonly host: string | undefined
}

export interface BadRequest {
  readonly kind: 'bad'
  readonly status: 400 | 414 | 431 | 505
}

const maxFields = 200
/** RFC 3986 §3.2.2, without the future forms of addresses. */
const authority =
  /^(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::(\d{0,5}))?$/

function isAuthority(text: string): boolean {
  const match = authority.exec(text)
  if (!match) return false
  const [, address, port] = match
  return (address === undefined || isIPv6(address)) && Number(port ?? 0) <= 65_535
}

const bad = (status: BadRequest['status']): BadRequest => ({ kind: 'bad', status })

/** Judges a request head. Whoever gets `bad` must close the connection after the answer. */
export function checkRequest(head: RequestHead, limits: HeadLimits): GoodRequest | BadRequest {
  if (head.version !== '1.1' && head.version !== '1.0') {
    return bad(head.version.startsWith('0') ? 400 : 505)
  }
  if (head.target.length > limits.maxTargetBytes) return bad(414)
  if (head.fields.length > maxFields || headBytes(head) > limits.maxHeaderBytes) return bad(431)
  // oxlint-disable-next-line no-control-regex -- these are what must not be there
  if (head.fields.some(([, value]) => /[\x00-\x08\x0a-\x1f\x7f]/.test(value))) return bad(400)
  if (!/^[\x21\x22\x24-\x7e]+$/.test(head.target)) return bad(400)
  return checkFraming(head) ?? checkTarget(head)
}

const headBytes = ({ method, target, fields }: RequestHead): number =>
  fields.reduce(
    (sum, [name, value]) => sum + name.length + value.length + 4,
    method.length + target.length + 12,
  )

function checkFraming({ version, fields }: RequestHead): BadRequest | undefined {
  const encodings = valuesOf(fields, 'transfer-encoding')
  const lengths = valuesOf(fields, 'content-length')
  if (encodings.length > 0) {
    if (version === '1.0' || lengths.length > 0 || encodings.length > 1) return bad(400)
    if (encodings[0]?.toLowerCase() !== 'chunked') return bad(400)
  }
  if (lengths.length > 1) return bad(400)
  const [length] = lengths
  if (length === undefined) return undefined
  return /^\d+$/.test(length) && Number.isSafeInteger(Number(length)) ? undefined : bad(400)
}

function checkTarget({ method, target, version, fields }: RequestHead): GoodRequest | BadRequest {
  const hosts = valuesOf(fields, 'host')
  if (hosts.length > 1 || (hosts.length === 0 && version === '1.1')) return bad(400)
  const [host] = hosts
  if (host !== undefined && !isAuthority(host)) return bad(400)
  if (target.startsWith('/')) return { kind: 'good', target, host }
  if (target === '*') return method === 'OPTIONS' ? { kind: 'good', target, host } : bad(400)

  // absolute-form: the received Host counts for nothing (RFC 9112 §3.2.2)
  const [, named, rest = ''] = /^https?:\/\/([^/?]*)([/?].*)?$/i.exec(target) ?? []
  if (named === undefined || !isAuthority(named)) return bad(400)
  const path = rest === '' && method === 'OPTIONS' ? '*' : rest.startsWith('/') ? rest : `/${rest}`
  return { kind: 'good', target: path, host: named }
}
