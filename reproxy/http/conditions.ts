/**
 * Conditional requests, evaluated against what the application says of the file (RFC 9110 §13).
 * Replicas' own validators differ from node to node and never count.
 */
import { valueOf, type Field } from './headers.ts'

/** The validators of a response; each is absent when it was not sent or cannot be read. */
export interface Validators {
  readonly etag: ETag | undefined
  /** As sent, and in milliseconds. */
  readonly lastModified: { readonly text: string; readonly at: number } | undefined
}

interface ETag {
  readonly weak: boolean
  readonly opaque: string
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const month = months.join('|')
const clock = String.raw`(?<h>\d\d):(?<mi>\d\d):(?<s>\d\d)`
const formats = [
  `^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<d>\\d\\d) (?<mo>${month}) (?<y>\\d{4}) ${clock} GMT$`,
  `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<d>\\d\\d)-(?<mo>${month})-(?<y>\\d\\d) ${clock} GMT$`,
  `^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<mo>${month}) (?<d>[ \\d]\\d) ${clock} (?<y>\\d{4})$`,
].map(source => new RegExp(source))

/** Reads any of the three HTTP date formats (RFC 9110 §5.6.7) into milliseconds. */
export function parseHttpDate(text: string, now = Date.now()): number | undefined {
  for (const format of formats) {
    const found = format.exec(text)?.groups
    if (!found) continue
    const { d, mo = '', h, mi, s } = found
    let year = Number(found['y'])
    if (found['y']?.length === 2) {
      // A two-digit year more than 50 years ahead is one of the past.
      year += 2000
      if (year > new Date(now).getUTCFullYear() + 50) year -= 100
    }
    const at = Date.UTC(year, months.indexOf(mo), Number(d), Number(h), Number(mi), Number(s))
    // Date.UTC rolls "31 Feb" over; such a date is none.
    return new Date(at).getUTCDate() === Number(d) ? at : undefined
  }
  return undefined
}

const etagPattern = /(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/

function parseETag(text: string): ETag | undefined {
  const [whole, weak, opaque] = etagPattern.exec(text) ?? []
  return whole === text && opaque !== undefined ? { weak: weak !== undefined, opaque } : undefined
}

/** `*`, or the tags of a list; a list that cannot be read has none. */
function parseETagList(text: string): '*' | ETag[] {
  if (text.trim() === '*') return '*'
  const member = new RegExp(String.raw`[ \t,]*${etagPattern.source}[ \t]*(?=,|$)`, 'y')
  const tags: ETag[] = []
  while (member.lastIndex < text.length) {
    const at = member.lastIndex
    const [, weak, opaque] = member.exec(text) ?? []
    if (opaque === undefined) return /^[ \t,]*$/.test(text.slice(at)) ? tags : []
    tags.push({ weak: weak !== undefined, opaque })
  }
  return tags
}

/** What an application's response says to tell versions apart. */
export function validatorsOf(response: readonly Field[]): Validators {
  const text = valueOf(response, 'last-modified')
  const at = text === undefined ? undefined : parseHttpDate(text)
  return {
    etag: parseETag(valueOf(response, 'etag') ?? ''),
    lastModified: text === undefined || at === undefined ? undefined : { text, at },
  }
}

/** True when a request has a condition or asks for ranges; of all others no field needs to be judged. */
export function isSelective(request: readonly Field[]): boolean {
  return request.some(([name]) => /^(?:if-|range$)/i.test(name))
}

/** What the request's conditions make of a GET or HEAD, in the order of RFC 9110 §13.2.2. */
export function evaluate(request: readonly Field[], current: Validators): 'proceed' | 304 | 412 {
  const { etag, lastModified } = current
  if (!etag && !lastModified) return 'proceed'

  const ifMatch = valueOf(request, 'if-match')
  const unmodifiedSince = dateOf(request, 'if-unmodified-since')
  if (ifMatch !== undefined) {
    const wanted = parseETagList(ifMatch)
    if (wanted !== '*' && !wanted.some(tag => strongMatch(tag, etag))) return 412
  } else if (unmodifiedSince !== undefined && lastModified) {
    if (lastModified.at > unmodifiedSince) return 412
  }

  const ifNoneMatch = valueOf(request, 'if-none-match')
  const modifiedSince = dateOf(request, 'if-modified-since')
  if (ifNoneMatch !== undefined) {
    const known = parseETagList(ifNoneMatch)
    if (known === '*' || known.some(tag => tag.opaque === etag?.opaque)) return 304
  } else if (modifiedSince !== undefined && lastModified && lastModified.at <= modifiedSince) {
    return 304
  }
  return 'proceed'
}

/** False when an If-Range says that the client's part is of another version: it gets the whole file. */
export function rangeApplies(request: readonly Field[], current: Validators): boolean {
  const ifRange = valueOf(request, 'if-range')
  if (ifRange === undefined) return true
  const tag = parseETag(ifRange)
  return tag ? strongMatch(tag, current.etag) : ifRange === current.lastModified?.text
}

const strongMatch = (a: ETag, b: ETag | undefined): boolean =>
  b !== undefined && !a.weak && !b.weak && a.opaque === b.opaque

function dateOf(request: readonly Field[], name: string): number | undefined {
  const text = valueOf(request, name)
  return text === undefined ? undefined : parseHttpDate(text)
}
