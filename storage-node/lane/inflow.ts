/**
 * What a connection sends, read into memory of ours: request heads into one buffer for all
 * connections, and bodies straight into pieces from the pool, as large as the body asks for. With a
 * buffer of Node's for each read a PUT of 1 MiB takes three times the processor time.
 */
import type { Socket } from 'node:net'
import { CodedError } from '../../common/errors.ts'
import { notePassed } from '../../common/http-guard.ts'
import { takeReads } from '../../common/own-reads.ts'
import { defaultPatience, tooSlow, type Body, type Patience } from '../writing/body.ts'
import type { Buffers } from '../writing/buffers.ts'

/**
 * Where bytes land that are no body, or more of one than there is room for; read in turn by all. What
 * it takes of a body is copied, and held beyond what there is room for.
 */
const scratch = Buffer.allocUnsafeSlow(16 * 1024)

export interface InflowOptions {
  readonly buffers: Buffers
  /** Takes bytes that belong to no body; they are gone when it returns. */
  readonly onBytes: (bytes: Buffer) => void
}

export class Inflow {
  readonly socket: Socket
  readonly #options: InflowOptions
  #body: IncomingBody | undefined
  #ended = false
  #after: 'serve' | 'push' | 'drop' = 'serve'

  /** Takes the connection of an accepted socket over; undefined where this Node does not let us. */
  static of(accepted: Socket, options: InflowOptions): Inflow | undefined {
    // It is asked for a buffer before there is an inflow.
    let inflow: Inflow | undefined
    const socket = takeReads(accepted, {
      buffer: () => (inflow && inflow.#body?.room()) ?? scratch,
      onRead: (size, into) => (inflow ? inflow.#onRead(size, into) : true),
    })
    return (inflow = socket && new Inflow(socket, options))
  }

  private constructor(socket: Socket, options: InflowOptions) {
    this.socket = socket
    this.#options = options
  }

  /**
   * Begins a body of `length` bytes that starts with `first`, as much of it as is the body's; what
   * follows is read into pieces until it is complete.
   */
  beginBody(first: Buffer, length: number): IncomingBody {
    const { buffers } = this.#options
    const body = new IncomingBody({ buffers, length, resume: () => this.socket.resume() })
    body.take(first)
    if (body.complete) return body
    // What is answered behind others may be begun when the client has left.
    if (this.#ended) body.fail()
    else this.#body = body
    return body
  }

  /** From here on the socket is read as any other. */
  handOver(): void {
    this.#leave('push')
  }

  /** From here on what comes is thrown away. */
  drop(): void {
    this.#leave('drop')
  }

  /** No more bytes will come. */
  end(): void {
    this.#ended = true
    this.#body?.fail()
    this.#body = undefined
  }

  #leave(after: 'push' | 'drop'): void {
    this.#after = after
    this.end()
  }

  /** False stops the reading until `resume`. */
  #onRead(size: number, into: Buffer): boolean {
    const body = this.#body
    if (body && into !== scratch) {
      body.filled(size)
    } else if (this.#after === 'drop') {
      return true
    } else {
      let bytes = into.subarray(0, size)
      if (this.#after === 'push') {
        notePassed(this.socket, bytes)
        return this.socket.push(Buffer.from(bytes))
      }
      if (body) bytes = bytes.subarray(body.take(bytes))
      if (bytes.length > 0) this.#options.onBytes(bytes)
    }
    if (body?.complete) this.#body = undefined
    return !this.#body?.full && !this.socket.isPaused()
  }
}

interface IncomingOptions {
  readonly buffers: Buffers
  readonly length: number
  /** Goes on with reading after `full`. */
  readonly resume: () => void
}

/** A body while it comes. */
export class IncomingBody {
  readonly #options: IncomingOptions
  /** Pieces that are full, and not yet asked for. */
  #ready: Buffer[] = []
  #piece: Buffer | undefined
  #end = 0
  #left: number
  #lastAt = 0
  #full = false
  #failed = false
  #wake: (() => void) | undefined

  constructor(options: IncomingOptions) {
    this.#options = options
    this.#left = options.length
  }

  /** Bytes that it has in all. */
  get length(): number {
    return this.#options.length
  }

  /** Its last byte is there. */
  get complete(): boolean {
    return this.#left === 0
  }

  /** More pieces wait than should; who stops reading for that is told when to go on. */
  get full(): boolean {
    return (this.#full ||= this.#ready.length > (this.#options.buffers.scarce ? 0 : 1))
  }

  /** Where the next read goes; undefined while there is no place. */
  room(): Buffer | undefined {
    if (this.#left === 0 || this.full) return undefined
    this.#piece ??= this.#options.buffers.take(this.#left)
    return this.#piece.subarray(this.#end, this.#end + this.#left)
  }

  /** That many bytes were read into the room. */
  filled(size: number): void {
    this.#end += size
    this.#left -= size
    this.#lastAt = performance.now()
    const piece = this.#piece
    if (!piece || (this.#end < piece.length && this.#left > 0)) return
    this.#ready.push(piece.subarray(0, this.#end))
    this.#piece = undefined
    this.#end = 0
    this.#wake?.()
  }

  /** Copies as many of `bytes` as are the body's; returns how many. */
  take(bytes: Buffer): number {
    let used = 0
    while (used < bytes.length && this.#left > 0) {
      const piece = (this.#piece ??= this.#options.buffers.take(this.#left))
      const end = Math.min(bytes.length, used + this.#left)
      const copied = bytes.copy(piece, this.#end, used, end)
      used += copied
      this.filled(copied)
    }
    return used
  }

  /** The connection ended, or nobody wants the body. */
  fail(): void {
    this.#failed = true
    this.#wake?.()
  }

  /** All that came and was not read, copied. */
  received(): Buffer {
    return Buffer.concat([...this.#ready, this.#piece?.subarray(0, this.#end) ?? Buffer.alloc(0)])
  }

  /**
   * All of a body of at most `onePieceBytes`, when it has come; it is the caller's until `discard`.
   * Throws what iterating throws.
   */
  async whole(patience: Patience = defaultPatience): Promise<Buffer> {
    if (!this.complete) await this.#waitPatiently(0, patience)
    if (!this.complete) throw endedEarly()
    return this.#ready[0] ?? Buffer.alloc(0)
  }

  /**
   * The body for whoever stores it, once. Iterating throws request_timeout when the client stalls or
   * dribbles, bad_request when the connection ends.
   */
  pieces(patience: Patience = defaultPatience): Body {
    const release = (piece: Buffer): void => this.#giveBack(piece, true)
    // What came in one packet needs no waiting for.
    if (this.complete) return { [Symbol.iterator]: () => this.#ready.splice(0).values(), release }
    return { [Symbol.asyncIterator]: () => this.#pieces(patience), release }
  }

  /** Gives back what nobody will read. */
  discard(): void {
    for (const piece of this.#ready.splice(0)) this.#giveBack(piece, true)
    // The next read may still go there.
    if (this.#piece) this.#giveBack(this.#piece, false)
    this.#piece = undefined
    this.#failed = true
  }

  #giveBack(piece: Buffer, reusable: boolean): void {
    this.#options.buffers.give(Buffer.from(piece.buffer), reusable)
  }

  async *#pieces(patience: Patience): AsyncGenerator<Buffer, void, undefined> {
    let waitedMs = 0
    for (;;) {
      const piece = this.#ready.shift()
      if (piece) {
        const wasFull = this.#full
        this.#full = false
        if (wasFull) this.#options.resume()
        yield piece
      } else if (this.#left === 0) {
        return
      } else if (this.#failed) {
        throw endedEarly()
      } else {
        waitedMs = await this.#waitPatiently(waitedMs, patience)
      }
    }
  }

  /** Waits until a piece is full or none will be; returns the milliseconds waited in all. */
  async #waitPatiently(before: number, patience: Patience): Promise<number> {
    const { gapMs, graceMs, minBytesPerSecond } = patience
    const startedAt = performance.now()
    for (;;) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, Math.min(gapMs / 10, 1_000))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
      const now = performance.now()
      const waitedMs = before + now - startedAt
      const received = this.#options.length - this.#left
      if (waitedMs > graceMs && received * 1000 < waitedMs * minBytesPerSecond) throw tooSlow()
      if (this.#ready.length > 0 || this.#failed) return waitedMs
      if (now - Math.max(this.#lastAt, startedAt) >= gapMs) throw tooSlow()
    }
  }
}

const endedEarly = (): CodedError => new CodedError('bad_request', 'the body ended early')
