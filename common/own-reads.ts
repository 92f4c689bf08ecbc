/**
 * Reading accepted sockets into memory that is used again. Node gives each read of a socket a buffer
 * of its own, of which the garbage collector hears as memory outside its heap: who sends much keeps
 * it marking, and until it comes round a busy server holds hundreds of megabytes of garbage.
 */
import { Socket } from 'node:net'

export interface OwnReads {
  /** Where the next read goes; asked at once and after each read. */
  readonly buffer: () => Buffer
  /** `size` bytes were read into `into`. False stops the reading until `resume`. */
  readonly onRead: (size: number, into: Buffer) => boolean
}

/** What of Node's sockets has no public name: the option `onread` exists for outgoing ones only. */
interface Accepted {
  _handle?: { useUserBuffer?: unknown } | null
}

/**
 * A socket (half-open) on the connection of `accepted`, which becomes an empty shell: it closes when
 * the connection does. There is no 'data'. Undefined where this Node does not let us.
 */
export function takeReads(accepted: Socket, { buffer, onRead }: OwnReads): Socket | undefined {
  const { _handle: handle } = accepted as Accepted
  if (typeof handle?.useUserBuffer !== 'function') return undefined
  const options = { handle, allowHalfOpen: true, onread: { buffer, callback: onRead } }
  const socket = new Socket(options as object)
  // By the first object the server and others count connections: it ends with the second.
  Object.assign(accepted, { _handle: null } satisfies Accepted)
  socket.once('close', () => accepted.destroy())
  return socket
}
