/** A request as the listeners hand it over. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Cancel } from '../upstream/cancel.ts'

/** One request as it came from a client. */
export interface ClientRequest {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly socket: Socket
  /** Aborts when the client has left or broken its request off. */
  readonly cancel: Cancel
  /** Status of the answer that it gets instead of being served: its Expect is not known. */
  readonly refusal: 417 | undefined
  /** The client waits for a 100 before it sends its body. */
  readonly expectsContinue: boolean
  /** Set for a websocket handshake. */
  readonly upgrade: UpgradeOffer | undefined
}

export interface UpgradeOffer {
  /** The bytes the client sent behind its handshake; from now on the caller reads the socket. */
  accept(): Buffer
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
