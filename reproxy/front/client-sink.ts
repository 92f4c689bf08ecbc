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

  /** Sends a piece of the body; resolves when the next may follow. Throws ClientGone. */
  async write(chunk: Buffer): Promise<void> {
    const res = this.#res
    if (res.destroyed) throw new ClientGone('the client has left')
    this.#bytes += chunk.length
    let wake: (() => void) | undefined
    let flushed = false
    const more = res.write(chunk, () => {
      flushed = true
      wake?.()
    })
    if (more || flushed) return
    await this.#watched(done => {
      wake = done
    })
    if (res.destroyed) throw new ClientGone('the client has left')
  }

  /** Completes the response; resolves when it has left the process. Throws ClientGone. */
  async end(lastPiece?: Buffer): Promise<void> {
    const res = this.#res
    if (lastPiece && !res.destroyed) this.#bytes += lastPiece.length
    if (!res.writableFinished && !res.destroyed) {
      res.end(lastPiece)
      await this.#watched(done => res.once('finish', done))
    }
    if (!res.writableFinished) throw new ClientGone('the client has left')
  }

  /**
   * Breaks the response off so that nobody takes it for whole. Where only the end of the connection
   * would tell the end of the body, it has to be a reset.
   */
  cut(): void {
    const { socket } = this.#res
    const byClose = this.#length === undefined && this.#res.req.httpVersion === '1.0'
    if (socket && byClose) socket.resetAndDestroy()
    this.#res.destroy()
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
