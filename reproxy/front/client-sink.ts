/**
 * The way to the client: one response, written as fast as the client takes it and never faster. A
 * client that takes nothing is cut; a response that cannot be completed is visibly broken off.
 */
import type { ServerResponse } from 'node:http'
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

export class ClientSink {
  readonly #res: ServerResponse
  readonly #options: SinkOptions
  readonly #startedAt = performance.now()
  #length: number | undefined
  #status = 0
  #bytes = 0
  #firstByteMs: number | undefined

  constructor(res: ServerResponse, options: SinkOptions) {
    this.#res = res
    this.#options = options
    // A 1.0 client does not know chunks, whatever its TE says.
    if (res.req.httpVersion === '1.0') res.useChunkedEncodingByDefault = false
  }

  /** A head has been given out, so another answer is no longer possible. */
  get started(): boolean {
    return this.#status !== 0
  }

  /** Status of the response; 0 before it has one. */
  get status(): number {
    return this.#status
  }

  /** Body bytes so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Milliseconds from the request to the response's head. */
  get firstByteMs(): number | undefined {
    return this.#firstByteMs
  }

  /** The response went out completely. */
  get complete(): boolean {
    return this.#res.writableFinished
  }

  /** Takes the head; it leaves with the first piece of the body, or by `flush`. */
  start({ status, reason, fields, length }: ResponseStart): void {
    if (!this.#options.mayKeepAlive()) this.#res.shouldKeepAlive = false
    // The rest of an upload that was answered early is not waited for.
    if (!this.#res.req.complete) this.closeAfter()
    const lines = fields.flat()
    if (length !== undefined && status !== 204) lines.push('Content-Length', String(length))
    if (reason === undefined) this.#res.writeHead(status, lines)
    else this.#res.writeHead(status, reason, lines)
    this.#status = status
    this.#length = length
    this.#firstByteMs = performance.now() - this.#startedAt
  }

  /** Closes the connection after this response. Before `start`. */
  closeAfter(): void {
    this.#res.shouldKeepAlive = false
    if (this.#res.socket) closeGently(this.#res.socket)
  }

  /** Sends the head now, because the body may be long in coming. */
  flush(): void {
    this.#res.flushHeaders()
  }

  /**
   * Sends a piece of the body; a promise when the client is to be waited for before the next, which is
   * not so where the kernel takes it at once. Throws ClientGone.
   */
  write(chunk: Buffer): Promise<void> | undefined {
    const res = this.#res
    const { socket } = res
    if (res.destroyed || !socket) throw new ClientGone('the client has left')
    this.#bytes += chunk.length
    // node would hold it back until the next tick; now it is known at once whether it has gone.
    socket.cork()
    const more = res.write(chunk)
    socket.uncork()
    if (more || socket.writableLength === 0) return undefined
    return this.#taken()
  }

  /** Completes the response; resolves when it has left the process. Throws ClientGone. */
  end(lastPiece?: Buffer): Promise<void> | undefined {
    const res = this.#res
    if (!res.destroyed) {
      if (lastPiece) this.#bytes += lastPiece.length
      res.end(lastPiece)
    }
    if (res.writableFinished) return undefined
    return this.#finished()
  }

  /**
   * Breaks the response off so that nobody takes it for whole. Where only the end of the connection
   * would tell the end of the body, it has to be a reset; and that comes a little later, because
   * where it arrives together with bytes many clients take it for an ordinary end.
   */
  cut(): void {
    const res = this.#res
    const { socket } = res
    const byClose = this.#length === undefined && res.req.httpVersion === '1.0'
    if (!socket || !byClose || res.destroyed || this.#bytes === 0) {
      res.destroy()
      return
    }
    closeGently(socket) // nothing else may be served on it meanwhile
    setTimeout(() => {
      socket.resetAndDestroy()
      res.destroy()
    }, resetDelayMs)
  }

  async #taken(): Promise<void> {
    const res = this.#res
    await this.#watched(done => res.once('drain', done))
    if (res.destroyed) throw new ClientGone('the client has left')
  }

  async #finished(): Promise<void> {
    const res = this.#res
    if (!res.destroyed) await this.#watched(done => res.once('finish', done))
    if (!res.writableFinished) throw new ClientGone('the client has left')
  }

  /** Waits until what `arm` prepares, or the client's leaving; cuts a client that takes no byte for too long. */
  #watched(arm: (done: () => void) => void): Promise<void> {
    const res = this.#res
    const { socket } = res
    return new Promise(resolve => {
      let queued = -1
      let changedAt = 0
      const watch = setInterval(
        () => {
          const now = socket ? queuedBytes(socket) : 0
          if (now !== queued) {
            queued = now
            changedAt = performance.now()
          } else if (performance.now() - changedAt >= this.#options.stallMs) {
            socket?.destroy()
          }
        },
        Math.max(5, this.#options.stallMs / 8),
      )
      const settle = (): void => {
        clearInterval(watch)
        res.off('close', settle)
        resolve()
      }
      res.once('close', settle)
      arm(settle)
    })
  }
}

/**
 * Bytes that the kernel has not taken yet. 'drain' tells only of whole writes, and a slow client may
 * need minutes for one; libuv's own count also moves with parts of a write.
 */
function queuedBytes(socket: Socket): number {
  const handle = (socket as { _handle?: { writeQueueSize?: number } | null })._handle
  return handle?.writeQueueSize ?? 0
}
