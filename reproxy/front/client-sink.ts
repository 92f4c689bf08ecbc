/**
 * The way to the client: one response, written as fast as the client takes it and never faster. A
 * client that takes nothing is cut; a response that cannot be completed is visibly broken off.
 */
import type { Socket } from 'node:net'
import { closeGently } from './gentle-close.ts'
import type { Field } from '../http/headers.ts'

/** The client has left, or was cut; there is nobody to answer any more. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

/** Milliseconds in which a client takes what it was sent before its connection is reset. */
const resetDelayMs = 50

export interface ResponseStart {
  readonly status: number
  /** The reason phrase; the standard one when undefined. */
  readonly reason?: string | undefined
  readonly fields: readonly Field[]
  /** Goes out as Content-Length; undefined lets the framing tell the end. */
  readonly length?: number | undefined
}

export interface SinkOptions {
  /** How long a client may take no byte. */
  readonly stallMs: number
  /** False when the connection is to be closed after this response. */
  readonly mayKeepAlive: () => boolean
}

/** One response. */
export interface ClientSink {
  /** A head has been given out, so another answer is no longer possible. */
  readonly started: boolean
  /** Status of the response; 0 before it has one. */
  readonly status: number
  /** Body bytes so far. */
  readonly bytes: number
  /** Milliseconds from the request to the response's head. */
  readonly firstByteMs: number | undefined
  /** The response went out completely. */
  readonly complete: boolean
  /** Takes the head; it leaves with the first piece of the body, or by `flush`. */
  start(start: ResponseStart): void
  /** Closes the connection after this response. Before `start`. */
  closeAfter(): void
  /** Sends the head now, because the body may be long in coming. */
  flush(): void
  /**
   * Sends a piece of the body; a promise when the client is to be waited for before the next, which is
   * not so where the kernel takes it at once. A `borrowed` piece may be overwritten after the call.
   * Throws ClientGone.
   */
  write(piece: Buffer, borrowed?: boolean): Promise<void> | undefined
  /** Completes the response; a promise until it has left the process. Throws ClientGone. */
  end(lastPiece?: Buffer, borrowed?: boolean): Promise<void> | undefined
  /**
   * Breaks the response off so that nobody takes it for whole. Where only the end of the connection
   * would tell the end of the body, it has to be a reset; and that comes a little later, because
   * where it arrives together with bytes many clients take it for an ordinary end.
   */
  cut(): void
}

/** Resets a connection as soon as its client has probably taken what it was sent. */
export function resetSoon(socket: Socket, done: () => void): void {
  closeGently(socket) // nothing else may be served on it meanwhile
  setTimeout(() => {
    socket.resetAndDestroy()
    done()
  }, resetDelayMs)
}

/**
 * Resolves when `arm` calls back; what `arm` returns undoes it. A client that takes no byte for
 * `stallMs` until then is cut.
 */
export function whileTaken(
  socket: Socket | null,
  stallMs: number,
  arm: (done: () => void) => () => void,
): Promise<void> {
  return new Promise(resolve => {
    let queued = -1
    let changedAt = 0
    const watch = setInterval(
      () => {
        const now = socket ? queuedBytes(socket) : 0
        if (now !== queued) {
          queued = now
          changedAt = performance.now()
        } else if (performance.now() - changedAt >= stallMs) {
          socket?.destroy()
        }
      },
      Math.max(5, stallMs / 8),
    )
    const disarm = arm(() => {
      clearInterval(watch)
      disarm()
      resolve()
    })
  })
}

/**
 * Bytes that the kernel has not taken yet. 'drain' tells only of whole writes, and a slow client may
 * need minutes for one; libuv's own count also moves with parts of a write.
 */
function queuedBytes(socket: Socket): number {
  const handle = (socket as { _handle?: { writeQueueSize?: number } | null })._handle
  return handle?.writeQueueSize ?? 0
}
