import type { ServerResponse } from 'node:http'
import {
  ClientGone,
  resetSoon,
  whileTaken,
  type ClientSink,
  type ResponseStart,
  type SinkOptions,
} from './client-sink.ts'
import { closeGently } from './gentle-close.ts'

/** A response by node's server. */
export class ServerSink implements ClientSink {
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

  get started(): boolean {
    return this.#status !== 0
  }

  get status(): number {
    return this.#status
  }

  get bytes(): number {
    return this.#bytes
  }

  get firstByteMs(): number | undefined {
    return this.#firstByteMs
  }

  get complete(): boolean {
    return this.#res.writableFinished
  }

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

  closeAfter(): void {
    this.#res.shouldKeepAlive = false
    if (this.#res.socket) closeGently(this.#res.socket)
  }

  flush(): void {
    this.#res.flushHeaders()
  }

  write(piece: Buffer, borrowed = false): Promise<void> | undefined {
    const res = this.#res
    const { socket } = res
    if (res.destroyed || !socket) throw new ClientGone('the client has left')
    this.#bytes += piece.length
    // node would hold it back until the next tick; now it is known at once whether it has gone.
    socket.cork()
    const more = res.write(borrowed ? Buffer.from(piece) : piece)
    socket.uncork()
    if (more || socket.writableLength === 0) return undefined
    return this.#taken()
  }

  end(lastPiece?: Buffer, borrowed = false): Promise<void> | undefined {
    const res = this.#res
    if (!res.destroyed) {
      if (lastPiece) this.#bytes += lastPiece.length
      res.end(lastPiece && borrowed ? Buffer.from(lastPiece) : lastPiece)
    }
    if (res.writableFinished) return undefined
    return this.#finished()
  }

  cut(): void {
    const res = this.#res
    const { socket } = res
    const byClose = this.#length === undefined && res.req.httpVersion === '1.0'
    if (!socket || !byClose || res.destroyed || !this.started) {
      res.destroy()
      return
    }
    resetSoon(socket, () => res.destroy())
  }

  async #taken(): Promise<void> {
    const res = this.#res
    await this.#watched('drain')
    if (res.destroyed) throw new ClientGone('the client has left')
  }

  async #finished(): Promise<void> {
    const res = this.#res
    if (!res.destroyed) await this.#watched('finish')
    if (!res.writableFinished) throw new ClientGone('the client has left')
  }

  #watched(event: 'drain' | 'finish'): Promise<void> {
    const res = this.#res
    const { socket } = res
    return whileTaken(socket, this.#options.stallMs, done => {
      res.once('close', done).once(event, done)
      // Once a request for an upgrade stands behind this one, node does not tell the response any more.
      if (event === 'drain') socket?.once(event, done)
      return () => {
        res.off('close', done).off(event, done)
        socket?.off(event, done)
      }
    })
  }
}
