/**
 * What an application answers when it is asked for a file. Behind the reproxy that is a few header
 * fields; without it, as on a developer's machine, the file itself, with ranges and conditions.
 */
import type { Readable } from 'node:stream'
import { isNotModified } from './conditions.ts'
import type { Files } from './files.ts'
import { describe, headersOf } from './headers.ts'
import type { Range } from './replicas.ts'
import type { CallOptions, Key } from './tracker-api/index.ts'

/** As Node's `IncomingMessage` has them: names in lower case. */
export interface FileRequest {
  readonly method?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What to answer. */
export interface FileAnswer {
  readonly status: 200 | 206 | 304 | 416
  readonly headers: Readonly<Record<string, string>>
  /** Absent: the body is empty. */
  readonly body?: Readable
}

/** What serving needs of a client. */
export type Served = Pick<Files, 'get' | 'stat' | 'reproxyHeaders'>

/**
 * The answer to a GET or HEAD of this file. A reproxy says of itself that it is there
 * (X-Proxy-Capabilities) and lets no client say so. Throws unknown_key, no_replica and what else a
 * get throws; the error's `statusCode` is the status to answer with.
 */
export async function answerFile(
  files: Served,
  key: Key,
  { method, headers, signal }: FileRequest & CallOptions,
): Promise<FileAnswer> {
  const field = (name: string): string | undefined => headers[name]?.toString()
  if (/\breproxy-url\b/.test(field('x-proxy-capabilities') ?? '')) {
    return { status: 200, headers: await files.reproxyHeaders(key, { signal }) }
  }
  const file = await files.stat(key, { signal })
  const conditions = {
    ifMatch: field('if-match'),
    ifNoneMatch: field('if-none-match'),
    ifModifiedSince: field('if-modified-since'),
  }
  const modifiedAt = file.modifiedAt.toISOString()
  if (isNotModified({ fid: file.fid, modifiedAt }, conditions)) {
    const { 'content-type': _, ...rest } = describe(file)
    return { status: 304, headers: rest }
  }
  const ifRange = field('if-range')
  const isWanted = method !== 'HEAD' && (ifRange === undefined || ifRange === file.etag)
  const range = isWanted ? rangeOf(field('range'), file.size) : undefined
  if (range === 'unsatisfiable') {
    return { status: 416, headers: { 'content-range': `bytes */${file.size}` } }
  }
  const answer = { status: range ? 206 : 200, headers: headersOf(file, range) } as const
  if (method === 'HEAD') return answer
  // The content that was described, or none.
  const { body } = await files.get(key, { ...range, ifMatch: file.etag, signal })
  return { ...answer, body }
}

/** The one range that is asked for (RFC 9110 §14.2); undefined: the whole file. */
function rangeOf(field: string | undefined, size: number): Range | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(field ?? '') ?? []
  if (first === '' && last === '') return undefined
  const start = first === '' ? Math.max(size - Number(last), 0) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size)
  if (first !== '' && last !== '' && Number(last) < start) return undefined
  return start < end ? { start, end } : 'unsatisfiable'
}
