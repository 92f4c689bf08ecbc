/** A client that sends the same request again and again and reads nothing. */
import type { Socket } from 'node:net'
import { until } from './until.ts'

/** About so many bytes are given to the socket at once. */
const pieceBytes = 64 * 1024

/**
 * Sends `request` again and again, at most `pieces` times 64 KiB, until the other side takes no more.
 * Resolves with the number of pieces that it has taken.
 */
export async function flood(socket: Socket, request: string, pieces: number): Promise<number> {
  const piece = Buffer.from(request.repeat(Math.ceil(pieceBytes / request.length)))
  let taken = 0
  const pump = (): void => {
    socket.write(piece, err => {
      if (!err && ++taken < pieces) pump()
    })
  }
  pump()
  await until('no more is taken', async () => {
    const before = taken
    await new Promise(resolve => setTimeout(resolve, 300))
    return taken > 0 && taken === before
  })
  return taken
}
