/**
 * Reading accepted sockets into buffers that are reused. Node allocates a buffer outside the heap for each
 * read of a socket. A client that sends a lot keeps the garbage collector busy with them, and a busy
 * server holds hundreds of megabytes of garbage until it gets to them.
 */
import { Socket } from 'node:net'

export interface OwnReads {
  /** Returns the buffer for the next read. Called at the start and after each read. */
  readonly buffer: () => Buffer
  /** Called after `size` bytes were read into `into`. Returning false stops reading until `resume`. */
  readonly onRead: (size: number, into: Buffer) => boolean
}

/** An internal field of Node's sockets. Their public option `onread` exists for outgoing connections only. */
interface Accepted {
  _handle?: { useUserBuffer?: unknown } | null
}

/**
 * Takes over the connection of `accepted` and returns a new, half-open socket for it, which reads into
 * our buffers and emits no 'data'. `accepted` can no longer be used; it closes with the connection.
 * Undefined, and nothing is changed, when this version of Node does not support it.
 */
export function takeReads(accepted: Socket, { buffer, onRead }: OwnReads): Socket | undefined {
  const { _handle: handle } = accepted as Accepted
  if (typeof handle?.useUserBuffer !== 'function') return undefined
  const options = { handle, allowHalfOpen: true, onread: { buffer, callback: onRead } }
  const socket = new Socket(options as object)
  // The server counts connections by the first socket, so it has to close with the second one.
  Object.assign(accepted, { _handle: null } satisfies Accepted)
  socket.once('close', () => accepted.destroy())
  return socket
}
