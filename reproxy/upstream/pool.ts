/** Connections to applications and storage nodes, kept open between requests. */
import { connect, type Socket } from 'node:net'
import type { Cancel } from './cancel.ts'
import { Deadlines } from '../../common/deadlines.ts'
import { Exchange, type Lender } from './exchange.ts'
import { UpstreamError } from './upstream-error.ts'
import type { ResponseHead } from '../http/response-parser.ts'

export interface Peer {
  readonly host: string
  readonly port: number
}

export interface UpstreamRequest {
  readonly peer: Peer
  readonly method: string
  /** Request line and fields with the empty line, in latin1. */
  readonly head: string
  readonly connectTimeoutMs: number
  readonly cancel: Cancel
}

/** A response of which the head has come. */
export interface Answer {
  readonly exchange: Exchange
  readonly head: ResponseHead
}

/** Called once: with the answer, or with the reason why there is none. */
export type OnAnswer = (failure: UpstreamError | undefined, answer: Answer | undefined) => void

export interface OpenOptions {
  /** Do not take a connection from the pool: the request must not be sent twice. */
  readonly fresh?: boolean
  /** A body follows by `write`, until `endRequest`. */
  readonly withBody?: boolean
  readonly upgrade?: boolean
}

export interface PoolOptions {
  readonly maxHeadBytes: number
  /** How far a response body may be read ahead of whoever pulls it. */
  readonly bufferBytes: number
}

/** How long a connection waits for its next request, seen in so many sweeps. */
const idleMs = 30_000
const sweeps = 4
/** Waiting connections per peer; more are closed. */
const maxIdle = 256

/**
 * Bytes that are taken from the kernel at one go. A client that takes nothing holds one piece of that
 * size, so where many are served at once the pieces are small: thousands of slow clients cost little,
 * and a few fast ones no more system calls than they must.
 */
const readBytes = 65_536
const manyConnections = 256
const smallReadBytes = 16_384

export class UpstreamPool {
  readonly #options: PoolOptions
  /** All connections read into these: what comes is used up, or copied, before the next read. */
  readonly #buffer = Buffer.allocUnsafeSlow(readBytes)
  readonly #smallBuffer = this.#buffer.subarray(0, smallReadBytes)
  readonly #sweep = setInterval(() => this.#closeIdle(), idleMs / sweeps).unref()
  readonly #deadlines = new Deadlines(20)
  /** Those that wait for their next request, by host and port. */
  readonly #idle = new Map<string, Map<number, Connection[]>>()
  readonly #open = new Set<Connection>()
  /**
   * Those whose response has just ended, and those that the event loop has looked at once since. What
   * a peer sends behind its response is about to be read then; it must not meet the next request.
   */
  #resting: Connection[] = []
  #rested: Connection[] = []

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /**
   * Sends a request without a body and waits for the head of its response. A pooled connection that
   * turns out to be dead, closed before any byte of an answer, is replaced by a fresh one. Rejects
   * with UpstreamError.
   */
  request(request: UpstreamRequest, headTimeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.send(request, headTimeoutMs, (failure, answer) =>
        answer ? resolve(answer) : reject(failure),
      )
    })
  }

  /** The same with a callback, which costs less where it is followed by others. */
  send(request: UpstreamRequest, headTimeoutMs: number, onAnswer: OnAnswer): void {
    const waitOn = (connection: Connection, reused: boolean): void => {
      const exchange = this.#begin(connection, request, reused, true, false)
      exchange.awaitHead(headTimeoutMs, (failure, head) => {
        if (head) onAnswer(undefined, { exchange, head })
        else if (failure?.kind === 'closed' && reused && !exchange.answered) sendFresh()
        else onAnswer(failure, undefined)
      })
    }
    const sendFresh = (): void => {
      this.#connect(request, false).then(
        connection => waitOn(connection, false),
        (err: UpstreamError) => onAnswer(err, undefined),
      )
    }
    const pooled = this.#take(request.peer)
    if (pooled) waitOn(pooled, true)
    else sendFresh()
  }

  /** Sends a request's head, on a pooled connection if there is one. Throws UpstreamError. */
  async open(
    request: UpstreamRequest,
    { fresh = false, withBody = false, upgrade = false }: OpenOptions = {},
  ): Promise<Exchange> {
    const pooled = fresh ? undefined : this.#take(request.peer)
    const connection = pooled ?? (await this.#connect(request, upgrade))
    return this.#begin(connection, request, pooled !== undefined, !withBody, upgrade)
  }

  #begin(
    connection: Connection,
    { method, head, cancel }: UpstreamRequest,
    reused: boolean,
    bodyless: boolean,
    upgrade: boolean,
  ): Exchange {
    const { maxHeadBytes, bufferBytes } = this.#options
    const exchange = new Exchange(connection, {
      method,
      upgrade,
      cancel,
      reused,
      bodyless,
      maxHeadBytes,
      bufferBytes,
      deadlines: this.#deadlines,
    })
    connection.lend(exchange)
    if (cancel.aborted) exchange.destroy()
    connection.socket.write(head, 'latin1')
    return exchange
  }

  /** Closes every connection. */
  close(): void {
    clearInterval(this.#sweep)
    for (const connection of this.#open) connection.socket.destroy()
  }

  #take({ host, port }: Peer): Connection | undefined {
    const waiting = this.#idle.get(host)?.get(port)
    for (let connection = waiting?.pop(); connection; connection = waiting?.pop()) {
      if (connection.socket.writable) return connection
    }
    return undefined
  }

  #waitingFor({ host, port }: Peer): Connection[] {
    const ports = this.#idle.get(host)
    let waiting = ports?.get(port)
    if (waiting) return waiting
    waiting = []
    if (ports) ports.set(port, waiting)
    else this.#idle.set(host, new Map([[port, waiting]]))
    return waiting
  }

  #forget({ host, port }: Peer): void {
    const ports = this.#idle.get(host)
    ports?.delete(port)
    if (ports?.size === 0) this.#idle.delete(host)
  }

  /** Has a connection wait for its next request, once what came right behind its last response has been seen. */
  #rest(connection: Connection): void {
    if (this.#resting.push(connection) === 1 && this.#rested.length === 0)
      setImmediate(this.#onTurn)
  }

  readonly #onTurn = (): void => {
    for (const connection of this.#rested) {
      const { peer, socket } = connection
      if (socket.destroyed) continue
      const waiting = this.#waitingFor(peer)
      if (waiting.length < maxIdle) waiting.push(connection)
      else socket.destroy()
    }
    this.#rested = this.#resting
    this.#resting = []
    if (this.#rested.length > 0) setImmediate(this.#onTurn)
  }

  #closeIdle(): void {
    for (const connection of this.#open) {
      if (++connection.idleSweeps > sweeps) connection.socket.destroy()
    }
  }

  async #connect(
    { peer, connectTimeoutMs, cancel }: UpstreamRequest,
    upgrade: boolean,
  ): Promise<Connection> {
    let receive = (_chunk: Buffer): void => {}
    const buffer = this.#open.size < manyConnections ? this.#buffer : this.#smallBuffer
    const onread = {
      buffer,
      callback: (size: number) => {
        receive(buffer.subarray(0, size))
        return true
      },
    }
    // After an upgrade the socket is read as a stream, which `onread` would keep it from being.
    const socket = connect({ ...peer, noDelay: true, ...(upgrade ? {} : { onread }) })
    await connected(socket, connectTimeoutMs, cancel)
    const connection: Connection = new Connection(peer, socket, buffer.length, {
      idle: () => this.#rest(connection),
      gone: () => {
        this.#open.delete(connection)
        const waiting = this.#waitingFor(peer)
        const at = waiting.indexOf(connection)
        if (at !== -1) waiting.splice(at, 1)
        if (waiting.length === 0) this.#forget(peer)
      },
    })
    receive = chunk => connection.receive(chunk)
    if (upgrade) socket.on('data', receive)
    this.#open.add(connection)
    return connection
  }
}

/** Throws UpstreamError unless the socket gets its connection in time. */
async function connected(socket: Socket, timeoutMs: number, cancel: Cancel): Promise<void> {
  socket.on('error', () => {}) // told by 'close' as well; without a listener it would end the process
  return new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      cancel.remove(onAbort)
      socket.off('connect', onConnect).off('error', onError)
    }
    const fail = (error: UpstreamError): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const onAbort = (): void => fail(new UpstreamError('aborted', 'given up'))
    const onError = (cause: Error): void =>
      fail(new UpstreamError('connect', 'no connection', { cause }))
    const onConnect = (): void => {
      settle()
      resolve()
    }
    const timer = setTimeout(
      () => fail(new UpstreamError('connect', 'no connection in time')),
      timeoutMs,
    )
    cancel.add(onAbort)
    socket.on('connect', onConnect).on('error', onError)
    if (cancel.aborted) onAbort()
  })
}

/** One connection: what comes in goes to the exchange it is lent to; with none, nothing may come. */
class Connection implements Lender {
  readonly peer: Peer
  readonly socket: Socket
  readonly aheadBytes: number
  readonly #events: { idle(): void; gone(): void }
  /** Sweeps since it began to wait for its next request; none happened while it does not. */
  idleSweeps = -Infinity
  #exchange: Exchange | undefined
  #detached = false
  #error: Error | undefined
  readonly #onEnd = (): void => {
    if (this.#exchange) this.#exchange.receiveEnd()
    else this.socket.destroy()
  }
  readonly #onError = (err: Error): void => {
    this.#error = err
  }
  readonly #onClose = (): void => {
    this.#exchange?.closed(this.#error)
    this.#events.gone()
  }

  constructor(
    peer: Peer,
    socket: Socket,
    aheadBytes: number,
    events: { idle(): void; gone(): void },
  ) {
    this.peer = peer
    this.socket = socket
    this.aheadBytes = aheadBytes
    this.#events = events
    socket.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose)
  }

  /** `chunk` may be overwritten after the call. */
  receive(chunk: Buffer): void {
    if (this.#exchange) this.#exchange.receive(chunk)
    else if (!this.#detached) this.socket.destroy()
  }

  lend(exchange: Exchange): void {
    this.#exchange = exchange
    this.idleSweeps = -Infinity
  }

  release(reusable: boolean): void {
    this.#exchange = undefined
    if (!reusable || !this.socket.writable) {
      this.socket.destroy()
      return
    }
    this.idleSweeps = 0
    // Else the peer's closing would go unnoticed.
    if (this.socket.readableFlowing !== true) this.socket.resume()
    this.#events.idle()
  }

  detach(): void {
    this.#detached = true
    this.#exchange = undefined
    this.socket.pause()
    this.socket.removeAllListeners('data')
    this.socket.off('end', this.#onEnd).off('error', this.#onError).off('close', this.#onClose)
    this.#events.gone()
  }
}
