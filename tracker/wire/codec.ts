/**
 * The MogileFS line protocol's bytes, as strings with one character (U+0000 to U+00FF) per byte:
 * *wire strings*. They are exact for keys that are not UTF-8, and node reads and writes them as
 * latin1 without a copy per value. What the replies must look like is what shipped clients parse:
 * the encoder of MogileFS-Server (`lib/MogileFS/Util.pm`, `eurl`), one `=` per pair, no empty
 * segment, the space after `OK` always, a name that begins with no digit. The functions here cannot
 * write anything else.
 */
import type { ErrorCode } from '../../common/errors.ts'

/** The wire string of ordinary text: its UTF-8 bytes. */
export function utf8ToWire(text: string): string {
  return Buffer.byteLength(text) === text.length ? text : Buffer.from(text).toString('latin1')
}

/** The text that a wire string's bytes are in UTF-8; broken sequences become U+FFFD. */
export function wireToUtf8(wire: string): string {
  return Buffer.from(wire, 'latin1').toString('utf8')
}

const plain = /^[A-Za-z0-9_,\-./\\:]*$/

const encoded = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte)
  if (plain.test(char)) return char
  return char === ' ' ? '+' : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

/** Encodes a wire string as a value. Throws RangeError when `wire` is text instead of bytes. */
export function encodeValue(wire: string): string {
  if (plain.test(wire)) return wire
  let out = ''
  for (let at = 0; at < wire.length; at++) {
    const code = encoded[wire.charCodeAt(at)]
    if (code === undefined) throw new RangeError('not a byte string; see utf8ToWire')
    out += code
  }
  return out
}

/** What a hexadecimal digit stands for; NaN for any other character, and past the end. */
function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : Number.NaN
}

function decode(part: string): string {
  const spaced = part.includes('+') ? part.replaceAll('+', ' ') : part
  let percent = spaced.indexOf('%')
  if (percent === -1) return spaced
  let out = ''
  let copied = 0
  for (; percent !== -1; percent = spaced.indexOf('%', percent + 1)) {
    const byte =
      16 * hexDigit(spaced.charCodeAt(percent + 1)) + hexDigit(spaced.charCodeAt(percent + 2))
    if (Number.isNaN(byte)) continue
    out += spaced.slice(copied, percent) + String.fromCharCode(byte)
    copied = percent + 3
  }
  return out + spaced.slice(copied)
}

/**
 * Reads an argument string, `name=value&…`, into wire strings. Any bytes at all give a result: a
 * broken `%` stands for itself, empty segments and a bare `0` are dropped, what follows a second `=`
 * is thrown away, and what follows `limit` arguments. Of a name given twice the first counts:
 * nginx-mogilefs-module repeats `class`, and joining the two with NUL, as MogileFS-Server does, helps
 * nobody.
 */
export function decodeArgs(text: string, limit = Number.POSITIVE_INFINITY): Map<string, string> {
  const args = new Map<string, string>()
  for (let start = 0; start < text.length && args.size < limit;) {
    const next = text.indexOf('&', start)
    const segment = text.slice(start, next === -1 ? text.length : next)
    start += segment.length + 1
    if (segment === '' || segment === '0') continue
    const equals = segment.indexOf('=')
    const end = equals === -1 ? segment.length : equals
    const name = decode(segment.slice(0, end))
    if (args.has(name)) continue
    const rest = segment.slice(end + 1)
    const second = rest.indexOf('=')
    args.set(name, decode(second === -1 ? rest : rest.slice(0, second)))
  }
  return args
}

/** Arguments that are read of a request: one of a few bytes takes ten times as many of memory. */
const maxArgs = 1000

/** A request line, taken apart. */
export interface ParsedLine {
  /** In lower case. */
  readonly command: string
  /** Names and values are wire strings. */
  readonly args: Map<string, string>
  /** What the client wants to see again in the reply, as a wire string; see `formatOk`. */
  readonly callid?: string | undefined
}

const isSpace = Array.from({ length: 256 }, (_, byte) => byte === 32 || (byte >= 9 && byte <= 13))
const isWord = Array.from({ length: 256 }, (_, byte) => /\w/.test(String.fromCharCode(byte)))

/** Takes a request line (a wire string without its line end) apart; undefined without a leading word. */
export function parseLine(line: string): ParsedLine | undefined {
  let at = 0
  while (isSpace[line.charCodeAt(at)]) at++
  const start = at
  while (isWord[line.charCodeAt(at)]) at++
  if (at === start) return undefined
  const command = line.slice(start, at).toLowerCase()
  while (isSpace[line.charCodeAt(at)]) at++
  const args = decodeArgs(line.slice(at), maxArgs)
  return { command, args, callid: args.get('callid') }
}

/** True for a console command: `!` and then a byte that is not white space. */
export function isConsoleLine(line: string): boolean {
  return line.startsWith('!') && line.length > 1 && !isSpace[line.charCodeAt(1)]
}

/** A URL that goes out as it is; made by `rawPath`. */
export class RawPath {
  readonly url: string

  constructor(url: string) {
    if (!/^[A-Za-z0-9_,\-./\\:?[\]]+$/.test(url)) {
      throw new RangeError(`not fit for a reply: ${JSON.stringify(url)}`)
    }
    this.url = url
  }
}

/**
 * Marks a URL in a reply. It is sent unencoded, since pymogilefs never decodes and
 * nginx-mogilefs-module decodes wrongly, so it must need no encoding: throws RangeError when it holds
 * more than letters, digits and `_ , - . / \ : ?`, and `[ ]` for IPv6.
 */
export function rawPath(url: string): RawPath {
  return new RawPath(url)
}

/**
 * A pair of a reply; a string is a wire string. A list stands for a pair of each, their names
 * numbered from 1: `['key_', ['a', 'b']]` is `key_1=a&key_2=b`.
 */
export type Pair = readonly [name: string, value: string | number | RawPath | readonly string[]]

const pairName = /^[A-Za-z_][A-Za-z0-9_]*$/

/** True for what a pair of a reply can be called. */
export function isPairName(name: string): boolean {
  return pairName.test(name)
}

const pair = (name: string, value: Pair[1]): string => {
  if (!isPairName(name)) throw new RangeError(`not a name: ${JSON.stringify(name)}`)
  if (value instanceof RawPath) return `${name}=${value.url}`
  if (typeof value !== 'object') return `${name}=${encodeValue(String(value))}`
  if (value.length === 0) throw new RangeError(`nothing to number: ${name}`)
  let text = ''
  for (const [i, item] of value.entries())
    text += `${i === 0 ? '' : '&'}${name}${i + 1}=${encodeValue(item)}`
  return text
}

/**
 * The whole `OK` line, CR LF included. `callid` is the request's: it comes back as one more pair,
 * and only when the client sent one. Throws RangeError on a name or value that cannot be sent.
 */
export function formatOk(pairs: Iterable<Pair>, callid?: string): string {
  let body = ''
  for (const [name, value] of pairs)
    body += body === '' ? pair(name, value) : `&${pair(name, value)}`
  if (callid !== undefined) body += `${body === '' ? '' : '&'}${pair('callid', callid)}`
  return `OK ${body}\r\n`
}

/**
 * The whole `ERR` line, CR LF included. `text` is ordinary text for people and goes out as UTF-8;
 * where it is empty the code stands in for it. `callid` is the request's, a wire string.
 */
export function formatError(code: ErrorCode, text: string, callid?: string): string {
  const shown = encodeValue(utf8ToWire(text === '' ? code : text))
  return `ERR ${code} ${shown}${callid === undefined ? '' : ` ${encodeValue(callid)}`}\r\n`
}
