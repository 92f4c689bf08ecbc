/** Counts what a server sends, at its sockets, and what of it are bodies of one route. */
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'

export interface Traffic {
  /** Successful answers of the route, and the bytes of their bodies. */
  readonly pictures: { answers: number; bodyBytes: number }
  /** Everything written to sockets, heads and errors included. */
  readonly bytesSent: number
}

/** Measures from now on; the object it returns is live. Call before routes are added. */
export function meterTraffic(app: FastifyInstance, route: string): Traffic {
  const pictures = { answers: 0, bodyBytes: 0 }
  const open = new Set<Socket>()
  let closedBytes = 0
  app.server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      closedBytes += socket.bytesWritten
    })
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (request.routeOptions.url !== route || reply.statusCode !== 200) return payload
    pictures.answers += 1
    if (payload instanceof Readable) return Readable.from(counted(payload))
    if (typeof payload === 'string' || Buffer.isBuffer(payload)) {
      pictures.bodyBytes += Buffer.byteLength(payload)
    }
    return payload
  })
  async function* counted(body: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of body) {
      pictures.bodyBytes += Buffer.byteLength(chunk)
      yield chunk
    }
  }
  return {
    pictures,
    get bytesSent() {
      return [...open].reduce((sum, socket) => sum + socket.bytesWritten, closedBytes)
    },
  }
}
