/**
 * The public listener: node's HTTP server with our limits. It hands over one request at a time per
 * connection, in the order they came, so that a pipelined request takes effect only after those
 * before it were answered; it answers what is no request, and drains when closing.
 */
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Address } from '../../common/config.ts'
import { Cancel } from '../upstream/cancel.ts'
import {
  isWebsocket,
  serverRequest,
  type ClientRequest,
  type RequestExtra,
  type UpgradeOffer,
} from './client-request.ts'
import { createDoor } from './door.ts'
import { Lanes } from './lane.ts'
import { boundAddress, listenOn, type Listen } from './listening.ts'
import { closeGently, isClosing } from './gentle-close.ts'
import { rawOwnResponse } from './own-response.ts'
import { statusOf, type ParserError } from './parser-error.ts'

/** What may change while it serves. */
export interface FrontTimes {
  readonly requestHeadTimeoutMs: number
  readonly keepAliveIdleMs: number
  readonly drainTimeoutMs: number
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
}

export interface FrontOptions extends FrontTimes {
  readonly listen: Listen
  readonly tls: { readonly listen: Listen; readonly credentials: SecureContextOptions } | undefined
  readonly maxHeaderBytes: number
  readonly maxTargetBytes: number
}

export interface FrontHandlers {
  /** Answers a request. Must not reject. */
  serve(client: ClientRequest): Promise<void>
  /** Told of bytes that were answered with `status` because they are no request. */
  refused(socket: Socket, status: number): void
  /** True for addresses from which any number of connections may come. */
  isUnlimited(address: string): boolean
}

export interface Front {
  start(): Promise<void>
  /** Stops accepting, lets what is in progress finish, then returns. Throws when that takes too long. */
  close(): Promise<void>
  /** Applies to connections and requests from now on. */
  configure(times: FrontTimes): void
  /** The certificate for connections from now on. Throws when it cannot be used. */
  setCredentials(credentials: SecureContextOptions): void
  /** Where it listens. Throws before `start`. */
  readonly address: Address
  /** Where it listens by TLS. */
  readonly tlsAddress: Address | undefined
  readonly draining: boolean
}

/** The requests of one connection that are not over yet. */
interface Line {
  tail: Promise<void>
  waiting: number
  /** The request that came last; only its body can still be under way. */
  newest: Entry | undefined
  /** Of the next request, where node's parser does not know it. */
  method: string | undefined
  tunnel: boolean
}

interface Entry {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly cancel: Cancel
  served: boolean
  /** Status of the answer, once its body turned out not to be HTTP. */
  broken: number | undefined
}

/** Requests that may wait behind each other on one connection before it is no longer read. */
const maxPipelined = 16
/** Milliseconds that idle connections stay open once it closes. */
const idleGraceMs = 100
/** Bytes a client may send behind a handshake that is not answered yet. */
const maxEarlyBytes = 65_536

/** Each request with a body has node go on with the reading. */
function stayPaused(this: Socket): void {
  this.pause()
}

/** Creates the listeners; they listen when started. */
export function createFront(options: FrontOptions, handlers: FrontHandlers): Front {
  const lines = new Map<Socket, Line>()
  const shaking = new Set<Socket>()
  const admit = createDoor({
    isUnlimited: address => handlers.isUnlimited(address),
    maxPerAddress: () => times.maxConnectionsPerAddress,
  })
  let times: FrontTimes = options
  let draining = false

  const common = {
    // The target has a limit of its own; the parser counts both together.
    maxHeaderSize: options.maxHeaderBytes + options.maxTargetBytes,
    // A long upload is no fault; a stalled one is noticed by whoever reads it.
    requestTimeout: 0,
    headersTimeout: options.requestHeadTimeoutMs,
    connectionsCheckingInterval: Math.max(50, Math.min(1000, options.requestHeadTimeoutMs / 4)),
    requireHostHeader: false, // checked with all the rest
    noDelay: true,
  }
  const server: Server = createServer(common)
  const tlsServer: TlsServer | undefined =
    options.tls &&
    createTlsServer({
      ...common,
      ...options.tls.credentials,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: options.requestHeadTimeoutMs,
    })
  const servers = [server, ...(tlsServer ? [tlsServer] : [])]

  function applyTimes(): void {
    for (const each of servers) {
      each.maxHeadersCount = 0 // else node drops lines silently; they are counted and refused instead
      each.keepAliveTimeout = times.keepAliveIdleMs
      each.headersTimeout = times.requestHeadTimeoutMs
      each.maxConnections = times.maxConnections
    }
  }

  const lineOf = (socket: Socket): Line => {
    let line = lines.get(socket)
    if (!line) {
      line = {
        tail: Promise.resolve(),
        waiting: 0,
        newest: undefined,
        method: undefined,
        tunnel: false,
      }
      lines.set(socket, line)
      socket.once('close', () => lines.delete(socket))
    }
    return line
  }

  /** Runs `step` when everything before it on the connection is over, unless that closed it. */
  function enqueue(socket: Socket, step: (line: Line) => Promise<void> | void): void {
    const line = lineOf(socket)
    const run = async (): Promise<void> => {
      try {
        if (socket.writable && !isClosing(socket)) await step(line)
      } catch {
        socket.destroy()
      }
      line.waiting--
      if (line.waiting === maxPipelined) {
        socket.off('resume', stayPaused)
        socket.resume()
      }
      if (draining && line.waiting === 0) socket.destroySoon()
    }
    line.waiting++
    if (line.waiting === maxPipelined + 1) {
      socket.on('resume', stayPaused)
      socket.pause()
    }
    // Never at once: node's parser has not come to the end of the request yet.
    line.tail = line.tail.then(run)
  }

  function receive(
    req: IncomingMessage,
    res: ServerResponse,
    extra: Omit<RequestExtra, 'cancel' | 'method'> = {},
  ): void {
    const { socket } = req
    const cancel = new Cancel()
    const entry: Entry = { req, res, cancel, served: false, broken: undefined }
    res.once('close', () => {
      // After a whole answer to a whole request there is nothing left to stop.
      if (!res.writableFinished || !req.complete) cancel.abort()
      // node adds a second to what it is told; where another request is there already, it set none.
      if (socket.timeout) socket.setTimeout(times.keepAliveIdleMs)
    })
    const line = lineOf(socket)
    const { method } = line
    line.newest = entry
    line.method = undefined
    // The next such request would find the parser as it is.
    if (method !== undefined) res.shouldKeepAlive = false
    enqueue(socket, async () => {
      if (entry.broken !== undefined) {
        refuse(socket, entry.broken)
        return
      }
      // The response before it has left, which node notices in a moment; until then this one has no socket.
      if (!res.socket) await new Promise<void>(resolve => setImmediate(resolve))
      entry.served = true
      await handlers.serve(serverRequest(req, res, { ...extra, method, cancel }))
    })
  }

  function refuse(socket: Socket, status: number): void {
    closeGently(socket)
    socket.write(rawOwnResponse(status))
    socket.destroySoon()
    handlers.refused(socket, status)
  }

  function onClientError(err: ParserError, socket: Socket): void {
    const status = statusOf(err, options.maxTargetBytes)
    if (status === undefined || !socket.writable) {
      socket.destroy()
      return
    }
    socket.pause()
    const newest = lines.get(socket)?.newest
    if (!newest || newest.req.complete) {
      // It stands behind requests that are still to be answered.
      enqueue(socket, () => {
        if (err.code === 'HPE_CLOSED_CONNECTION') socket.destroySoon()
        else refuse(socket, status)
      })
      return
    }
    // The body of that request is broken: it will never be complete.
    newest.broken = status
    if (!newest.served) return
    if (newest.res.headersSent) socket.destroy()
    else {
      newest.res.detachSocket(socket)
      refuse(socket, status)
    }
    newest.cancel.abort()
  }

  function onUpgrade(req: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.setTimeout(0)
    socket.on('error', () => socket.destroy())
    // Until its turn nobody else takes what comes, and node may have it come: what nobody takes is lost.
    const early = [head]
    let bytes = head.length
    const onData = (chunk: Buffer): void => {
      early.push(chunk)
      bytes += chunk.length
      if (bytes > maxEarlyBytes) socket.pause()
    }
    const onEnd = (): void => void socket.destroy()
    const take = (): Buffer => {
      socket.off('data', onData).off('end', onEnd).pause()
      return Buffer.concat(early)
    }
    socket.on('data', onData).on('end', onEnd)
    if (!isWebsocket(req)) {
      enqueue(socket, () => reread(req, socket, take()))
      return
    }
    const res = new ServerResponse(req)
    const upgrade: UpgradeOffer = {
      accept() {
        lineOf(socket).tunnel = true
        res.detachSocket(socket)
        return take()
      },
    }
    enqueue(socket, () => {
      res.assignSocket(socket)
      res.shouldKeepAlive = false // node's parser has let go of the connection
    })
    receive(req, res, { upgrade })
    enqueue(socket, line => {
      if (line.tunnel) return
      closeGently(socket)
      socket.destroySoon()
    })
  }

  /** Gives the server the same request again without its offer of an upgrade we do not pass on. */
  function reread(req: IncomingMessage, socket: Socket, head: Buffer): void {
    const { rawHeaders } = req
    const text = [`${req.method} ${req.url} HTTP/${req.httpVersion}`]
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      if (name.toLowerCase() !== 'upgrade') text.push(`${name}: ${rawHeaders[i + 1]}`)
    }
    socket.unshift(Buffer.concat([Buffer.from(`${text.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
    if ('encrypted' in socket) tlsServer?.emit('secureConnection', socket)
    else toServer?.call(server, socket)
    socket.setTimeout(0) // that of the answer before it
    socket.resume()
  }

  for (const each of servers) {
    each.on('request', (req, res) => receive(req, res))
    each.on('checkContinue', (req, res) => receive(req, res, { expectsContinue: true }))
    each.on('checkExpectation', (req, res) => receive(req, res, { refusal: 417 }))
    each.on('clientError', (err: ParserError, socket) => onClientError(err, socket as Socket))
    each.on('upgrade', (req, socket, head) => onUpgrade(req, socket as Socket, head))
    each.on('connect', (_req, socket) => {
      socket.on('error', () => socket.destroy())
      enqueue(socket as Socket, () => refuse(socket as Socket, 405))
    })
  }
  // node's server has its connections from this listener; it gets them when the short way is no good for them.
  const [toServer] = server.listeners('connection') as ((socket: Socket) => void)[]
  const lanes = new Lanes({
    maxHeadBytes: options.maxHeaderBytes,
    times: () => times,
    draining: () => draining,
    serve: client => handlers.serve(client),
    refuse,
    handOver(socket, method) {
      lineOf(socket).method = method
      toServer?.call(server, socket)
    },
  })
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    admit(socket)
    if (!socket.destroyed) lanes.take(socket)
  })
  tlsServer?.on('connection', (socket: Socket) => {
    shaking.add(socket)
    socket.once('close', () => shaking.delete(socket))
    admit(socket)
  })
  tlsServer?.on('secureConnection', socket => void lineOf(socket))
  applyTimes()

  let closing: Promise<void> | undefined
  async function drain(): Promise<void> {
    draining = true
    const listening = servers.filter(each => each.listening)
    const closed = Promise.all(
      listening.map(each => new Promise<void>(resolve => each.close(() => resolve()))),
    )
    // A tunnel has no end of its own, so there is nothing to wait for.
    for (const [socket, line] of lines) if (line.tunnel) socket.destroy()
    // A request may be on its way on a connection that looks idle; it is still answered.
    const idle = setTimeout(() => {
      for (const [socket, line] of lines) {
        if (isClosing(socket)) socket.destroy()
        else if (line.waiting === 0) socket.destroySoon()
      }
      lanes.endIdle()
    }, idleGraceMs)
    const late = new AbortController()
    const inTime = await Promise.race([
      closed.then(() => true),
      sleep(times.drainTimeoutMs, false, { signal: late.signal }).catch(() => false),
    ])
    late.abort()
    clearTimeout(idle)
    if (inTime) return
    for (const socket of [...lines.keys(), ...shaking]) socket.destroy()
    lanes.destroy()
    await closed
    throw new Error('requests were still in progress when the time to close was over')
  }

  return {
    async start() {
      await listenOn(server, options.listen)
      if (tlsServer && options.tls) await listenOn(tlsServer, options.tls.listen)
    },
    close() {
      closing ??= drain()
      return closing
    },
    configure(changed) {
      times = changed
      applyTimes()
    },
    setCredentials(credentials) {
      tlsServer?.setSecureContext({ ...credentials, minVersion: 'TLSv1.2' })
    },
    get address() {
      return boundAddress(server)
    },
    get tlsAddress() {
      return tlsServer?.listening ? boundAddress(tlsServer) : undefined
    },
    get draining() {
      return draining
    },
  }
}
