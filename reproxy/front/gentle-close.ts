/**
 * Closing a connection whose client may still be sending. Closing at once would reset it, and with
 * that lose the answer that says why (RFC 9112 §9.6).
 */
import type { Socket } from 'node:net'

/** Milliseconds in which what the client still sends is thrown away. */
const lingerMs = 1_000

/** Connections that have had, or are about to have, their last answer. */
const closing = new WeakSet<Socket>()

/** True when nothing more may be served on this connection. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket)
}

/** Makes the close after the answer under way a gentle one. */
export function closeGently(socket: Socket): void {
  if (closing.has(socket)) return
  closing.add(socket)
  socket.destroySoon = () => {
    socket.end()
    socket.resume()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once('close', () => clearTimeout(timer))
  }
}
