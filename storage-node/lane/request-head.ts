/**
 * The request heads that nearly all traffic has, read strictly: a replica's path, well-formed fields,
 * no field that changes what is meant. Anything else, wrong or merely unusual, is not read here but
 * left to Node's parser, so that there is one place where requests are refused.
 */
import { parseReplicaPath, type Replica } from '../../common/layout.ts'

export interface HotRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT'
  readonly replica: Replica
  /** The replica's path below its device. */
  readonly path: string
  readonly token: string | undefined
  /** The connection goes on after the answer. */
  readonly keepAlive: boolean
  /** A client of HTTP/1.0 must be told so. */
  readonly oldClient: boolean
  /** Content-Length of a PUT; 0 for others. */
  readonly length: number
  readonly range: string | undefined
}

const requestLine =
  /^(GET|HEAD|PUT) (\/dev[1-9]\d{0,9}\/(\d\/\d{3}\/\d{3}\/\d{10,16}\.fid))(?:\?([\w.-]*))? HTTP\/1\.([01])\r\n/
const field = /([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n/y
const authority = /^[\w.~!$&'()*+,;=:%[\]-]*$/

/** Fields that say nothing to a storage node, however often they come. */
const meaningless =
  /^(?:user-agent|accept(?:-[a-z]+)?|content-type|cache-control|pragma|cookie|referer|date|via|x-.*|sec-.*|traceparent|tracestate|dnt|keep-alive|priority)$/

const maxFields = 100

/** Reads a head, up to and with its empty line (Latin-1). Undefined when it is not of this kind. */
export function parseHotHead(head: string): HotRequest | undefined {
  const line = requestLine.exec(head)
  if (!line) return undefined
  const [all, method, target = '', path = '', token, minor] = line
  const replica = parseReplicaPath(target)
  if (!replica || replica.devid >= 2 ** 31) return undefined
  let host: string | undefined
  let connection: string | undefined
  let length: string | undefined
  let range: string | undefined
  field.lastIndex = all.length
  let end = all.length
  for (let count = 0; end < head.length - 2; count++) {
    const match = count < maxFields ? field.exec(head) : null
    if (!match) return undefined
    end = field.lastIndex
    const value = match[2]?.trimEnd() ?? ''
    const name = (match[1] ?? '').toLowerCase()
    if (name === 'host' && host === undefined) host = value
    else if (name === 'connection' && connection === undefined) connection = value.toLowerCase()
    else if (name === 'content-length' && length === undefined) length = value
    else if (name === 'range' && range === undefined) range = value
    else if (!meaningless.test(name)) return undefined
  }
  const oldClient = minor === '0'
  if (host === undefined ? !oldClient : !authority.test(host)) return undefined
  if (connection !== undefined && connection !== 'keep-alive' && connection !== 'close') {
    return undefined
  }
  const isPut = method === 'PUT'
  if (isPut ? !/^\d{1,15}$/.test(length ?? '') : length !== undefined && length !== '0') {
    return undefined
  }
  if (range !== undefined && method !== 'GET') return undefined
  return {
    method: method as HotRequest['method'],
    replica,
    path,
    token,
    keepAlive: oldClient ? connection === 'keep-alive' : connection !== 'close',
    oldClient,
    length: isPut ? Number(length) : 0,
    range,
  }
}
