/** Passes the application's own answer on to the client. */
import type { ClientSink } from '../front/client-sink.ts'
import type { Exchange } from '../upstream/exchange.ts'
import type { ClientRequest } from '../front/client-request.ts'
import type { Field } from '../http/headers.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import { tunnel } from './tunnel.ts'

export interface PassedResponse {
  readonly exchange: Exchange
  readonly head: ResponseHead
  /** The fields the client may see. */
  readonly shown: readonly Field[]
}

/**
 * Streams an answer. Throws UpstreamError when it breaks off, if possible before anything was sent,
 * and ClientGone.
 */
export async function passResponse(
  sink: ClientSink,
  { exchange, head, shown }: PassedResponse,
): Promise<void> {
  const { status, reason, framing, length } = head
  const start = (): void => sink.start({ status, reason, fields: shown, length })
  if (framing.kind === 'none') {
    start()
    return sink.end()
  }
  // The head travels with the first piece where that is there already, and does not wait where it is not.
  if (!exchange.ready) await new Promise<void>(resolve => setImmediate(resolve))
  if (!exchange.ready) {
    start()
    sink.flush()
  }
  let chunk = await exchange.read()
  if (!sink.started) start()
  for (; chunk; chunk = await exchange.read()) {
    if (exchange.drained) return sink.end(chunk)
    const waits = sink.write(chunk)
    if (waits) await waits
  }
  await sink.end()
}

/** Passes a 101 on and connects the two sides until either closes. */
export async function passUpgrade(
  { socket, upgrade }: ClientRequest,
  exchange: Exchange,
  head: ResponseHead,
  shown: readonly Field[],
): Promise<void> {
  const app = exchange.takeSocket()
  const early = upgrade?.accept() ?? Buffer.alloc(0)
  const lines = shown.map(([name, value]) => `${name}: ${value}`)
  socket.write(
    `HTTP/1.1 101 ${head.reason}\r\n${lines.join('\r\n')}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`,
    'latin1',
  )
  await tunnel({ socket, early }, { socket: app.socket, early: app.rest })
}
