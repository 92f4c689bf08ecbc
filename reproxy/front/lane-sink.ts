import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { httpDate } from '../../common/http-date.ts'
import {
  ClientGone,
  resetSoon,
  whileTaken,
  type ClientSink,
  type ResponseStart,
  type SinkOptions,
} from './client-sink.ts'
import { isNamed } from '../http/headers.ts'
import { closeGently } from './gentle-close.ts'
import type { PlainHead } from './plain-head.ts'

/** Pieces up to this size are copied behind the head, so that both leave in one write. */
const joinedBytes = 32_768

/**
 * Where what is sent is put together. Allocating memory for each piece, and what the system does to
 * clear and take back its pages, would cost as much as sending it.
 */
const smallBytes = 20_480
const largeBytes = 81_920
const outgoing = [smallBytes, largeBytes].map(size => Buffer.allocUnsafeSlow(size))

/** A response that is written straight to its connection. */
export class LaneSink implements ClientSink {
  keepAlive: boolean
  status = 0
  bytes = 0
  firstByteMs: number | undefined
  /** All of it was given to the socket. */
  #ended = false
  /** Writes that are not over. */
  #pending = 0
  #failed = false
  #wake: (() => void) | undefined
  readonly #socket: Socket
  readonly #request: PlainHead
  readonly #options: SinkOptions
  readonly #idleMs: number
  readonly #startedAt = performance.now()
  /** The head, until it has left. */
  #head = ''
  #framing: 'none' | 'length' | 'chunked' | 'close' = 'none'

  /** `idleMs`: how long the connection may wait for its next request, which the client is told. */
  constructor(socket: Socket, request: PlainHead, idleMs: number, options: SinkOptions) {
    this.#socket = socket
    this.#request = request
    this.#options = options
    this.#idleMs = idleMs
    this.keepAlive = request.keepAlive
  }

  get started(): boolean {
    return this.status !== 0
  }

  get complete(): boolean {
    return this.#ended && !this.#failed && this.#pending === 0
  }

  start({ status, reason, fields, length }: ResponseStart): void {
    const { method, version } = this.#request
    const bodyless = method === 'HEAD' || status === 204 || status === 304
    let head = `HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? ''}\r\n`
    let dated = false
    for (const [name, value] of fields) {
      if (unwritable.test(value)) throw new Error(`field ${name} cannot be written`)
      head += `${name}: ${value}\r\n`
      dated ||= isNamed(name, 'date')
    }
    if (!dated) head += `Date: ${httpDate()}\r\n`
    if (length !== undefined) {
      if (status !== 204) head += `Content-Length: ${length}\r\n`
      this.#framing = 'length'
    } else if (!bodyless) {
      this.#framing = version === '1.1' ? 'chunked' : 'close'
      if (version === '1.1') head += 'Transfer-Encoding: chunked\r\n'
      else this.keepAlive = false
    }
    if (bodyless) this.#framing = 'none'
    if (!this.#options.mayKeepAlive()) this.keepAlive = false
    head += this.keepAlive
      ? `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(this.#idleMs / 1000)}\r\n\r\n`
      : 'Connection: close\r\n\r\n'
    this.#head = head
    this.status = status
    this.firstByteMs = performance.now() - this.#startedAt
  }

  closeAfter(): void {
    this.keepAlive = false
    closeGently(this.#socket)
  }

  flush(): void {
    const head = this.#head
    this.#head = ''
    if (head !== '') this.#send(head)
  }

  write(piece: Buffer, borrowed = false): Promise<void> | undefined {
    const socket = this.#socket
    if (!socket.writable) throw new ClientGone('the client has left')
    this.#put(piece, borrowed)
    if (!socket.writableNeedDrain || socket.writableLength === 0) return undefined
    return this.#taken()
  }

  end(lastPiece?: Buffer, borrowed = false): Promise<void> | undefined {
    const socket = this.#socket
    if (lastPiece && socket.writable) this.#put(lastPiece, borrowed)
    this.flush()
    if (this.#framing === 'chunked') this.#send('0\r\n\r\n')
    this.#ended = true
    if (socket.writableLength === 0 && socket.writable) {
      // The kernel has it; the callbacks that say so come in the next tick.
      this.#pending = 0
      return undefined
    }
    return this.#finished()
  }

  /** Gives a piece of the body to the socket. */
  #put(piece: Buffer, borrowed: boolean): void {
    if (this.#framing === 'none' || piece.length === 0) return
    const socket = this.#socket
    this.bytes += piece.length
    if (this.#framing === 'chunked') {
      socket.cork()
      this.flush()
      this.#send(`${piece.length.toString(16)}\r\n`)
      this.#send(borrowed ? Buffer.from(piece) : piece)
      this.#send('\r\n')
      socket.uncork()
    } else if (borrowed || (this.#head !== '' && piece.length <= joinedBytes)) {
      this.#sendCopy(piece)
    } else {
      socket.cork()
      this.flush()
      this.#send(piece)
      socket.uncork()
    }
  }

  cut(): void {
    const socket = this.#socket
    this.keepAlive = false
    if (this.#framing === 'close' && socket.writable) resetSoon(socket, () => {})
    else socket.destroy()
  }

  /** Sends the head, if it has not left, and a copy of `piece`, in one write where there is room. */
  #sendCopy(piece: Buffer): void {
    const head = this.#head
    const length = head.length + piece.length
    const which = length <= smallBytes ? 0 : 1
    const into = length <= largeBytes ? outgoing[which] : undefined
    if (!into || this.#socket.writableLength > 0) {
      this.flush()
      this.#send(Buffer.from(piece))
      return
    }
    this.#head = ''
    into.write(head, 'latin1')
    piece.copy(into, head.length)
    this.#send(into.subarray(0, length))
    // What the kernel has not taken at once stays where it is until it does.
    if (this.#socket.writableLength > 0) outgoing[which] = Buffer.allocUnsafeSlow(into.length)
  }

  #send(piece: Buffer | string): void {
    this.#pending++
    this.#socket.write(piece, 'latin1', this.#onWritten)
  }

  readonly #onWritten = (err?: Error | null): void => {
    // Of a socket that was destroyed, what was under way is told as if it had left.
    if (err || this.#socket.destroyed) this.#failed = true
    if (this.#pending > 0) this.#pending--
    this.#wake?.()
  }

  async #taken(): Promise<void> {
    const socket = this.#socket
    await this.#until(() => !socket.writableNeedDrain)
    if (!socket.writable) throw new ClientGone('the client has left')
  }

  async #finished(): Promise<void> {
    await this.#until(() => this.#pending === 0)
    if (!this.complete) throw new ClientGone('the client has left')
  }

  async #until(condition: () => boolean): Promise<void> {
    const socket = this.#socket
    if (condition() || !socket.writable) return
    await whileTaken(socket, this.#options.stallMs, done => {
      const check = (): void => {
        if (condition() || !socket.writable) done()
      }
      this.#wake = check
      socket.on('drain', check).on('close', check)
      return () => {
        this.#wake = undefined
        socket.off('drain', check).off('close', check)
      }
    })
  }
}

/** What no field may hold: it would end the line, or be no Latin-1. */
const unwritable = /[^\t\x20-\x7e\x80-\xff]/
