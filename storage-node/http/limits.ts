/** How many connections one client may hold. */
import type { Socket } from 'node:net'

/** Connections to one server. */
export const maxConnections = 4096
const maxPerAddress = 1024

/** Counts connections by address; the returned function tells whether one more is taken. */
export function createConnectionLimit(): (socket: Socket) => boolean {
  const counts = new Map<string, number>()
  return socket => {
    const address = socket.remoteAddress ?? ''
    const count = (counts.get(address) ?? 0) + 1
    if (count > maxPerAddress) return false
    counts.set(address, count)
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1
      if (left > 0) counts.set(address, left)
      else counts.delete(address)
    })
    return true
  }
}
