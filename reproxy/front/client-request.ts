/** A request as the listeners hand it over, however they read it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { plainAddress } from '../config/addresses.ts'
import { fieldsOf, type Field } from '../http/headers.ts'
import type { Cancel } from '../upstream/cancel.ts'
import type { ClientSink, SinkOptions } from './client-sink.ts'
import { ServerSink } from './server-sink.ts'

/** One request as it came from a client. */
export interface ClientRequest {
  readonly method: string
  /** The request target as it stood in the request line. */
  readonly target: string
  readonly version: string
  readonly fields: readonly Field[]
  readonly socket: Socket
  /** Address of the peer. */
  readonly peer: string
  readonly body: ClientBody | undefined
  /** Aborts when the client has left or broken its request off. */
  readonly cancel: Cancel
  /** Status of the answer that it gets instead of being served: its Expect is not known. */
  readonly refusal: 417 | undefined
  /** Set for a websocket handshake. */
  readonly upgrade: UpgradeOffer | undefined
  /** The way of its one response. */
  respond(options: SinkOptions): ClientSink
  /** Throws away what was not read of its body, which would hold the connection up. */
  discardBody(): void
}

export interface ClientBody {
  readonly stream: IncomingMessage
  /** Its Content-Length; undefined when it is chunked. */
  readonly length: number | undefined
  /** Called before the first byte is read: the client may be waiting for a 100. */
  readonly begin: () => void
}

export interface UpgradeOffer {
  /** The bytes the client sent behind its handshake; from now on the caller reads the socket. */
  accept(): Buffer
}

/** What node's parser does not say itself. */
export interface RequestExtra {
  /** Where another stood in for it. */
  readonly method: string | undefined
  readonly cancel: Cancel
  readonly refusal?: 417 | undefined
  /** The client waits for a 100 before it sends its body. */
  readonly expectsContinue?: boolean
  readonly upgrade?: UpgradeOffer | undefined
}

/** A request that node's server read. */
export function serverRequest(
  req: IncomingMessage,
  res: ServerResponse,
  { method, cancel, refusal, expectsContinue = false, upgrade }: RequestExtra,
): ClientRequest {
  const { socket, headers } = req
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  const begin = (): void => {
    if (expectsContinue && !res.headersSent) res.writeContinue()
  }
  const bodyLength = length === undefined ? undefined : Number(length)
  const hasBody = length !== undefined || coding !== undefined
  return {
    method: method ?? req.method ?? '',
    target: req.url ?? '',
    version: req.httpVersion,
    fields: fieldsOf(req.rawHeaders),
    socket,
    peer: plainAddress(socket.remoteAddress ?? ''),
    body: hasBody ? { stream: req, length: bodyLength, begin } : undefined,
    cancel,
    refusal,
    upgrade,
    respond: options => new ServerSink(res, options),
    discardBody() {
      if (!req.complete) req.resume()
    },
  }
}

/** A handshake that is passed on: nothing but websocket, in the only form it has (RFC 6455 §4.1). */
export function isWebsocket(req: IncomingMessage): boolean {
  const { method, headers, httpVersion } = req
  const bodyless =
    headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0'
  return (
    method === 'GET' &&
    httpVersion === '1.1' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    bodyless
  )
}
