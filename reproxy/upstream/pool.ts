/** Connections to applications and storage nodes, kept open between requests. */
import { connect, type Socket } from 'node:net'
import { Exchange, UpstreamError, type Lender } from './exchange.ts'
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
  readonly signal: AbortSignal
}

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

/** How long a connection waits for its next request. */
const idleMs = 30_000
/** Waiting connections per peer; more are closed. */
const maxIdle = 256

export class UpstreamPool {
  readonly #options: PoolOptions
  readonly #idle = new Map<string, Connection[]>()
  readonly #open = new Set<Connection>()

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /**
   * Sends a request without a body and waits for the head of its response. A pooled connection that
   * turns out to be dead, closed before any byte of an answer, is replaced by a fresh one. Throws
   * UpstreamError.
   */
  async request(
    request: UpstreamRequest,
    headTimeoutMs: number,
  ): Promise<{ exchange: Exchange; head: ResponseHead }> {
    const exchange = await this.open(request)
    try {
      return { exchange, head: await exchange.head(headTimeoutMs) }
    } catch (err) {
      const dead = err instanceof UpstreamError && err.kind === 'closed'
      if (!dead || !exchange.reused || exchange.answered) throw err
    }
    const again = await this.open(request, { fresh: true })
    return { exchange: again, head: await again.head(headTimeoutMs) }
  }

  /** Sends a request's head, on a pooled connection if there is one. Throws UpstreamError. */
  async open(
    request: UpstreamRequest,
    { fresh = false, withBody = false, upgrade = false }: OpenOptions = {},
  ): Promise<Exchange> {
    const { peer, method, head, signal } = request
    const pooled = fresh ? undefined : this.#take(keyOf(peer))
    const connection = pooled ?? (await this.#connect(request))
    const exchange = new Exchange(connection, {
      method,
      upgrade,
      signal,
      reused: pooled !== undefined,
      bodyless: !withBody,
      ...this.#options,
    })
    connection.lend(exchange)
    if (signal.aborted) exchange.destroy()
    connection.socket.write(head, 'latin1')
    return exchange
  }

  /** Closes every connection. */
  close(): void {
    for (const connection of this.#open) connection.socket.destroy()
  }

  #take(key: string): Connection | undefined {
    const waiting = this.#idle.get(key)
    for (let connection = waiting?.pop(); connection; connection = waiting?.pop()) {
      if (connection.socket.writable) return connection
    }
    return undefined
  }

  async #connect({ peer, connectTimeoutMs, signal }: UpstreamRequest): Promise<Connection> {
    const socket = await dial(peer, connectTimeoutMs, signal)
    const key = keyOf(peer)
    const connection: Connection = new Connection(socket, {
      idle: () => {
        const waiting = this.#idle.get(key)
        if (!waiting) this.#idle.set(key, [connection])
        else if (waiting.length < maxIdle) waiting.push(connection)
        else socket.destroy()
      },
      gone: () => {
        this.#open.delete(connection)
        const waiting = this.#idle.get(key)
        const at = waiting?.indexOf(connection) ?? -1
        if (at !== -1) waiting?.splice(at, 1)
        if (waiting?.length === 0) this.#idle.delete(key)
      },
    })
    this.#open.add(connection)
    return connection
  }
}

const keyOf = ({ host, port }: Peer): string => `${host} ${port}`

async function dial({ host, port }: Peer, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true })
  socket.on('error', () => {}) // told by 'close' as well; without a listener it would end the process
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
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
      resolve(socket)
    }
    const timer = setTimeout(
      () => fail(new UpstreamError('connect', 'no connection in time')),
      timeoutMs,
    )
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('connect', onConnect).on('error', onError)
    if (signal.aborted) onAbort()
  })
}

/** One connection: what comes in goes to the exchange it is lent to; with none, nothing may come. */
class Connection implements Lender {
  readonly socket: Socket
  readonly #events: { idle(): void; gone(): void }
  #exchange: Exchange | undefined
  #error: Error | undefined
  readonly #onData = (chunk: Buffer): void => {
    if (this.#exchange) this.#exchange.receive(chunk)
    else this.socket.destroy()
  }
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
  readonly #onIdle = (): void => {
    this.socket.destroy()
  }

  constructor(socket: Socket, events: { idle(): void; gone(): void }) {
    this.socket = socket
    this.#events = events
    socket.on('data', this.#onData).on('end', this.#onEnd)
    socket.on('error', this.#onError).on('close', this.#onClose).on('timeout', this.#onIdle)
  }

  lend(exchange: Exchange): void {
    this.#exchange = exchange
    this.socket.setTimeout(0)
  }

  release(reusable: boolean): void {
    this.#exchange = undefined
    if (!reusable || !this.socket.writable) {
      this.socket.destroy()
      return
    }
    this.socket.setTimeout(idleMs)
    this.socket.resume() // else the peer's closing would go unnoticed
    this.#events.idle()
  }

  detach(): void {
    this.socket.setTimeout(0)
    this.socket.pause()
    this.socket.off('data', this.#onData).off('end', this.#onEnd)
    this.socket.off('error', this.#onError).off('close', this.#onClose).off('timeout', this.#onIdle)
    this.#events.gone()
  }
}
