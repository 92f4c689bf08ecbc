/**
 * One request to a peer and its response, on a connection that is lent for as long as it takes. The
 * body is pulled: a piece that nobody has taken yet keeps the socket from being read, so a slow
 * reader slows the sender down.
 */
import type { Socket } from 'node:net'
import type { Cancel } from './cancel.ts'
import type { Deadlines, Waited } from '../../common/deadlines.ts'
import {
  ResponseParser,
  type ParserEvents,
  type ParserOptions,
  type ResponseHead,
} from '../http/response-parser.ts'
import { PieceQueue, recycle } from './pieces.ts'
import { Pump, type Taker } from './pump.ts'
import { UpstreamError } from './upstream-error.ts'

/** What an exchange needs of its connection. */
export interface Lender {
  readonly socket: Socket
  /**
   * Bytes that are worth reading ahead of whoever pulls them: enough to keep a fast reader busy; a
   * slow one costs no more than it must.
   */
  readonly aheadBytes: number
  /** The response is over: back to the pool, or closed when it may not be used again. */
  release(reusable: boolean): void
  /** Hands the socket over for good. */
  detach(): void
}

export interface ExchangeOptions extends ParserOptions {
  /** The connection has been waiting in the pool, so the peer may have closed it by now. */
  readonly reused: boolean
  readonly bufferBytes: number
  readonly deadlines: Deadlines
  /** Ends the exchange and its connection. */
  readonly cancel: Cancel
  /** The head alone is the whole request. */
  readonly bodyless: boolean
}

/** Unwanted rests up to this size are read away to keep the connection. */
const discardBytes = 65_536
const discardMs = 2_000
const nothing: Buffer = Buffer.alloc(0)

/** Called once: with the head of the final response, or with the reason why there is none. */
export type OnHead = (failure: UpstreamError | undefined, head: ResponseHead | undefined) => void

export class Exchange implements ParserEvents, Waited {
  /** When the head, or the rest that is read away, is to be there. */
  dueAt = Infinity
  readonly reused: boolean
  readonly #lender: Lender
  readonly #options: ExchangeOptions
  readonly #parser: ResponseParser
  readonly #pieces = new PieceQueue()
  #discarded = 0
  #paused = false
  #head: ResponseHead | undefined
  #failure: UpstreamError | undefined
  #ended = false
  #answered = false
  #requestSent: boolean
  #discarding = false
  #receiving = false
  #rest: Buffer = nothing
  #wake: (() => void) | undefined
  #pump: Pump | undefined
  #onHead: OnHead | undefined
  #patienceMs = 0
  #onOver: (() => void)[] | undefined
  readonly #onAbort = (): void => this.#fail(new UpstreamError('aborted', 'given up'))

  constructor(lender: Lender, options: ExchangeOptions) {
    this.#lender = lender
    this.#options = options
    this.reused = options.reused
    this.#requestSent = options.bodyless
    this.#parser = new ResponseParser(this, options)
    options.cancel.add(this.#onAbort)
  }

  /** The peer has sent at least one byte, so the request may have had an effect. */
  get answered(): boolean {
    return this.#answered
  }

  /** The response has been received to its end. */
  get ended(): boolean {
    return this.#ended
  }

  /** `read` has something to tell at once. */
  get ready(): boolean {
    return !this.#pieces.isEmpty || this.#ended || this.#failure !== undefined
  }

  /** The whole body has been read. */
  get drained(): boolean {
    return this.#ended && this.#pieces.isEmpty
  }

  // --- called by the connection

  /** Takes the next bytes; `chunk` may be overwritten after the call. */
  receive(chunk: Buffer): void {
    this.#answered = true
    if (this.#failure) return
    this.#receiving = true
    try {
      this.#parser.feed(chunk)
    } catch (cause) {
      this.#fail(new UpstreamError('malformed', 'not an HTTP response', { cause }))
    }
    this.#receiving = false
    this.#pump?.arm()
  }

  onHead(head: ResponseHead): void {
    this.#head = head
    this.#tellHead()
  }

  onData(chunk: Buffer): void {
    if (this.#failure) return // given up while it was read
    if (this.#discarding) {
      this.#discarded += chunk.length
      if (this.#discarded > discardBytes) this.destroy()
      return
    }
    if (this.#pump && this.#isFree(this.#pump) && this.#pieces.isEmpty) {
      this.#pump.give(chunk)
      if (this.#pump.busy) this.#pause()
      return
    }
    this.#pieces.push(chunk)
    const { aheadBytes } = this.#lender
    if (this.#pieces.bytes >= Math.min(aheadBytes, this.#options.bufferBytes)) this.#pause()
    this.#wake?.()
  }

  onEnd(rest: Buffer): void {
    if (this.#failure) return
    this.#ended = true
    this.#settle()
    if (this.#head?.status === 101) this.#rest = Buffer.from(rest)
    else {
      // Bytes behind the response belong to nobody: the connection cannot be told from a forged one.
      const reusable = this.#head?.keepAlive === true && this.#head.framing.kind !== 'close'
      this.#lender.release(reusable && rest.length === 0 && this.#requestSent)
    }
    this.#wake?.()
    this.#drive()
  }

  receiveEnd(): void {
    if (!this.#ended && !this.#parser.finish()) this.closed()
  }

  closed(cause?: Error): void {
    this.#fail(new UpstreamError('closed', 'connection closed by the peer', { cause }))
  }

  // --- called by whoever asked

  /** Sends a piece of the request. Resolves when the next may follow; nothing happens once it is over. */
  async write(piece: string | Buffer): Promise<void> {
    const { socket } = this.#lender
    if (this.#failure || this.#ended) return
    this.#waitAgain()
    if (socket.write(piece, 'latin1')) return
    await new Promise<void>(resolve => {
      const done = (): void => {
        socket.off('drain', done).off('close', done)
        resolve()
      }
      socket.on('drain', done).on('close', done)
    })
    this.#waitAgain()
  }

  /** Says that the request is complete; only then can the connection be used again. */
  endRequest(): void {
    this.#requestSent = true
  }

  /**
   * Waits for the final response's head; `timeout` when it is not complete `timeoutMs` after the call
   * or the last piece of the request. Calls back at once where it is there, or the exchange has failed.
   */
  awaitHead(timeoutMs: number, onHead: OnHead): void {
    this.#onHead = onHead
    if (this.#head || this.#failure) {
      this.#tellHead()
      return
    }
    this.#waitFor(timeoutMs)
  }

  /** The same as a promise, which rejects with UpstreamError. */
  head(timeoutMs: number): Promise<ResponseHead> {
    return new Promise((resolve, reject) => {
      this.awaitHead(timeoutMs, (failure, head) => (head ? resolve(head) : reject(failure)))
    })
  }

  /** The next piece of the body, where it is there already. */
  next(): Buffer | undefined {
    return this.#pieces.shift()?.bytes
  }

  /**
   * The next piece of the body; undefined at its end. Throws UpstreamError, `timeout` when
   * `timeoutMs` is given and pass without a byte.
   */
  async read(timeoutMs?: number): Promise<Buffer | undefined> {
    while (this.#isEmpty()) await this.#more(timeoutMs)
    return this.next()
  }

  /** Waits for what `read` would give, and leaves it there: whether it is a piece. Throws as `read`. */
  async begins(timeoutMs?: number): Promise<boolean> {
    while (this.#isEmpty()) await this.#more(timeoutMs)
    return !this.#pieces.isEmpty
  }

  /**
   * Gives the body to `taker` until it is done, or the body has ended. Rejects with UpstreamError,
   * `timeout` when the peer sends no byte for `stallMs`, and with what the taker throws.
   */
  pump(taker: Taker, stallMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pump = new Pump({
        taker,
        stallMs,
        deadlines: this.#options.deadlines,
        onStall: () => this.#fail(new UpstreamError('timeout', 'no more bytes')),
        onReady: () => this.#drive(),
        resolve,
        reject,
      })
      this.#drive()
      // What has just been received may be the whole body.
      if (!this.#receiving) this.#pump.arm()
    })
  }

  /** Calls `done` when the exchange has ended or failed, at once where it has. */
  onOver(done: () => void): void {
    if (this.#ended || this.#failure) done()
    else if (this.#onOver) this.#onOver.push(done)
    else this.#onOver = [done]
  }

  /** The rest is not wanted: little is read away to keep the connection, more closes it. */
  discard(): void {
    this.#pieces.clear()
    if (this.#ended || this.#failure) return
    const framing = this.#head?.framing
    if (framing?.kind === 'close' || (framing?.kind === 'length' && framing.size > discardBytes)) {
      this.destroy()
      return
    }
    this.#discarding = true
    this.#waitFor(discardMs)
    this.#lender.socket.resume()
  }

  /** Closes the connection, wherever the exchange stands. */
  destroy(): void {
    this.#fail(new UpstreamError('aborted', 'given up'))
  }

  /** After a 101: the socket, and what the peer sent behind the head. Nobody else touches it any more. */
  takeSocket(): { socket: Socket; rest: Buffer } {
    this.#lender.detach()
    return { socket: this.#lender.socket, rest: this.#rest }
  }

  /** What was waited for has not come. */
  late(): void {
    if (this.#discarding) this.destroy()
    else this.#fail(new UpstreamError('timeout', 'no answer'))
  }

  #waitFor(ms: number): void {
    this.#patienceMs = ms
    this.#waitAgain()
    this.#options.deadlines.set(this)
  }

  #waitAgain(): void {
    this.dueAt = performance.now() + this.#patienceMs
  }

  /** Gives what waits to the taker, and lets the peer go on. */
  #drive(): void {
    const pump = this.#pump
    while (pump && this.#isFree(pump)) {
      const piece = this.#pieces.shift()
      if (piece) {
        pump.give(piece.bytes)
        recycle(piece)
      } else if (this.#failure) pump.end(this.#failure)
      else if (this.#ended) pump.end()
      else {
        this.#resume()
        return
      }
    }
  }

  #isFree({ busy, over }: Pump): boolean {
    return !busy && !over
  }

  #pause(): void {
    if (this.#paused || this.#ended) return
    this.#paused = true
    this.#lender.socket.pause()
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#lender.socket.resume()
  }

  /** Neither a piece nor the end is there yet. Throws the failure. */
  #isEmpty(): boolean {
    if (!this.#pieces.isEmpty) return false
    if (this.#failure) throw this.#failure
    return !this.#ended
  }

  /** Lets the peer go on, and waits for what it sends. */
  #more(timeoutMs: number | undefined): Promise<void> {
    this.#resume()
    return this.#change(timeoutMs)
  }

  #fail(failure: UpstreamError): void {
    if (this.#ended || this.#failure) return
    this.#failure = failure
    this.#settle()
    this.#lender.release(false)
    this.#tellHead()
    this.#wake?.()
    this.#drive()
  }

  /** Tells who waits for it of the head, or the failure. */
  #tellHead(): void {
    const onHead = this.#onHead
    if (!onHead) return
    this.#onHead = undefined
    this.#options.deadlines.lift(this)
    onHead(this.#head ? undefined : this.#failure, this.#head)
  }

  #settle(): void {
    this.#options.deadlines.lift(this)
    this.#options.cancel.remove(this.#onAbort)
    const onOver = this.#onOver ?? []
    this.#onOver = undefined
    for (const done of onOver) done()
  }

  /** Resolves when something has happened; fails the exchange when nothing does for `timeoutMs`. */
  #change(timeoutMs?: number): Promise<void> {
    return new Promise(resolve => {
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => this.#fail(new UpstreamError('timeout', 'no more bytes')), timeoutMs)
      this.#wake = () => {
        this.#wake = undefined
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
