/**
 * The request heads that nearly all traffic has: GET or HEAD of a path, no body, nothing that changes
 * what the connection is. Anything else, wrong or merely unusual, is not read here but left to node's
 * parser, so that there is one place where requests are refused.
 */
import { splitFields } from '../http/field-lines.ts'
import { isNamed, type Field } from '../http/headers.ts'

export interface PlainHead {
  readonly method: 'GET' | 'HEAD'
  readonly target: string
  readonly version: '1.0' | '1.1'
  readonly fields: readonly Field[]
  /** The client lets the connection go on after the answer. */
  readonly keepAlive: boolean
}

const wholeHead =
  /^(?:GET|HEAD) \/[\x21\x22\x24-\x7e]* HTTP\/1\.[01](?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*)*$/

/** More than one blank between the parts of a request line, or another protocol. */
const laxLine = /^(?:\r\n)*[^ \r\n]+ (?: |[^\r\n]* (?: |RTSP\/|ICE\/))/

/** Whether a request begins with a line that node's parser takes, though it is no good one (RFC 9112 §3). */
export const isLax = (bytes: Buffer): boolean => laxLine.test(bytes.toString('latin1'))

/** Fields that need node's parser. */
const special = ['content-length', 'transfer-encoding', 'upgrade', 'expect'] as const

/** Reads a head without its empty line (Latin-1). Undefined when it is not of this kind. */
export function parsePlainHead(text: string): PlainHead | undefined {
  if (!wholeHead.test(text)) return undefined
  const lineEnd = text.indexOf('\r\n')
  const line = lineEnd === -1 ? text : text.slice(0, lineEnd)
  const method = line.startsWith('GET') ? 'GET' : 'HEAD'
  const version = line.endsWith('1') ? '1.1' : '1.0'
  const fields = lineEnd === -1 ? [] : splitFields(text, lineEnd + 2)
  let keepAlive = version === '1.1'
  let told = false
  for (const [name, value] of fields) {
    if (special.some(each => isNamed(name, each))) return undefined
    if (!isNamed(name, 'connection')) continue
    const said = value.toLowerCase()
    if (told || (said !== 'close' && said !== 'keep-alive')) return undefined
    told = true
    keepAlive = said === 'keep-alive'
  }
  const target = line.slice(method.length + 1, -' HTTP/1.x'.length)
  return { method, target, version, fields, keepAlive }
}
