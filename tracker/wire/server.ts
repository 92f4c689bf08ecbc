/**
 * The line protocol's port, 7001: accepts MogileFS clients and hands their requests on. It has no
 * authentication, as clients in the field know none, so it tells friend from stranger by address.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { Address } from '../../common/config.ts'
import type { Service } from '../../common/daemon.ts'
import { isCoded, protocolText, type ErrorCode } from '../../common/errors.ts'
import type { Logger } from '../../common/log.ts'
import { parseAllowList, plainAddress } from './allow-list.ts'
import { formatError, isConsoleLine, parseLine, type ParsedLine } from './codec.ts'
import { Budget, UnreadAnswers } from './memory.ts'
import { Connection, type Answer, type WireClient } from './connection.ts'
import { Queries } from './console/queries.ts'

/** One command of a client. */
export interface WireRequest extends ParsedLine {
  /** The client's, IPv4 where it is one. */
  readonly remoteAddress: string
}

export interface WireServerOptions {
  /** At least one. */
  readonly listen: readonly Address[]
  /**
   * Answers a request with the line that `formatOk` made. A CodedError thrown becomes its `ERR` line,
   * anything else thrown is logged and becomes `ERR failure`.
   */
  readonly handle: (request: WireRequest) => Promise<string> | string
  /**
   * Answers an admin console line (it begins with `!`) with lines up to and including the lone dot,
   * a wire string. Without it the console has no commands.
   */
  readonly console?: (line: string, client: WireClient) => Promise<string> | string
  /** Counts the requests, and may hold them back. */
  readonly queries?: Queries
  /** `ADDRESS` or `ADDRESS/BITS` of those who may connect; empty: all who can reach the listener. */
  readonly allow?: readonly string[]
  /** Connections at once; more are closed unanswered. */
  readonly maxConnections?: number
  /** Of them, those from one address. */
  readonly maxConnectionsPerAddress?: number
  /** Milliseconds a client may leave its answers unread without any progress before it is cut. */
  readonly stallMs?: number
  /** Milliseconds that `close` waits for answers under way. */
  readonly drainMs?: number
  readonly log: Logger
}

export interface WireServer extends Service {
  /** Where it listens, in the order of its settings; throws before `start` has resolved. */
  readonly addresses: readonly Address[]
}

/** Milliseconds of silence after which TCP asks whether a client is still there: there is no idle time-out. */
const keepAliveMs = 60_000

/** Bytes that all clients together may make us hold, in long unfinished requests and in unread answers. */
const held = { lines: 16 * 1024 * 1024, unread: 16 * 1024 * 1024 }

const noCommands = 'The console has no commands here.\r\n.\r\n'

/** Creates the server; it listens once started. Throws ConfigError on an unreadable allow-list. */
export function createWireServer(options: WireServerOptions): WireServer {
  const { listen, log, maxConnections = 4096, maxConnectionsPerAddress = 1024 } = options
  const { stallMs = 120_000, drainMs = 20_000 } = options
  const allowed = parseAllowList(options.allow ?? [])
  const { queries = new Queries() } = options
  const answer = createAnswer({ ...options, queries })
  const lines = new Budget(held.lines)
  const unread = new UnreadAnswers(held.unread)
  const connections = new Set<Connection>()
  const perAddress = new Map<string, number>()
  let full = false
  let closing: Promise<void> | undefined

  // One line until somebody leaves, not one for each that is turned away.
  const warnFull = (remoteAddress: string): void => {
    if (!full) log.warn({ remoteAddress }, 'too many connections')
    full = true
  }

  const accept = (socket: Socket): void => {
    const address = plainAddress(socket.remoteAddress ?? '')
    if (closing || !allowed(address)) {
      log.debug({ remoteAddress: address }, 'connection refused')
      socket.destroy()
      return
    }
    const others = perAddress.get(address) ?? 0
    if (connections.size >= maxConnections || others >= maxConnectionsPerAddress) {
      warnFull(address)
      socket.destroy()
      return
    }
    perAddress.set(address, others + 1)
    const connection = new Connection(socket, { answer, stallMs, lines, unread, log })
    connections.add(connection)
    connection.onClose(() => {
      full = false
      connections.delete(connection)
      const left = (perAddress.get(address) ?? 1) - 1
      if (left === 0) perAddress.delete(address)
      else perAddress.set(address, left)
    })
  }

  const servers = listen.map(() =>
    createServer(
      // Half-open: a client may send its requests, end its side, and still read all answers.
      { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs },
      accept,
    ),
  )

  const shutDown = async (): Promise<void> => {
    queries.close()
    const closed = Promise.all(
      servers.map(server => new Promise<void>(resolve => server.close(() => resolve()))),
    )
    for (const connection of connections) connection.close()
    const deadline = setTimeout(() => {
      for (const connection of connections) connection.destroy()
    }, drainMs)
    await closed
    clearTimeout(deadline)
  }

  return {
    async start() {
      for (const [i, server] of servers.entries()) {
        server.listen({ ...listen[i], backlog: 1024 })
        await once(server, 'listening')
        server.on('error', err => log.error({ err }, 'listener failed'))
      }
    },
    close() {
      closing ??= shutDown()
      return closing
    },
    get addresses() {
      return servers.map(server => {
        const address = server.address() as AddressInfo | null
        if (!address) throw new Error('the wire server is not listening')
        return { host: address.address, port: address.port }
      })
    },
  }
}

type AnswerOptions = Pick<WireServerOptions, 'handle' | 'console' | 'log'> & {
  readonly queries: Queries
}

/** What a line is answered with. Nothing that a handler does wrong gets past it. */
function createAnswer({ handle, console, log, queries }: AnswerOptions): Answer {
  const failed = (err: unknown, { command, callid }: ParsedLine): string => {
    if (isCoded(err)) return errorLine(err.code, err.message, callid)
    log.error({ err, command }, 'command failed')
    return errorLine('failure', '', callid)
  }
  const consoleFailed = (err: unknown): string => {
    log.error({ err }, 'console command failed')
    return 'ERROR: internal error\r\n.\r\n'
  }
  const unknown = errorLine('unknown_command', '')

  const work = (
    line: string,
    { remoteAddress }: WireClient,
    { parsed, arrivedAt, begunAt }: { parsed: ParsedLine; arrivedAt: number; begunAt: number },
  ): Promise<string> | string => {
    const { command, args, callid } = parsed
    const end = (reply: string): string => {
      queries.end(line, remoteAddress, arrivedAt, begunAt)
      return reply
    }
    try {
      const result = handle({ command, args, callid, remoteAddress })
      if (typeof result === 'string') return end(result)
      return result.then(end, err => end(failed(err, parsed)))
    } catch (err) {
      return end(failed(err, parsed))
    }
  }

  return (line, client) => {
    if (isConsoleLine(line)) {
      if (!console) return noCommands
      return settled(() => console(line, client), consoleFailed)
    }
    const parsed = parseLine(line)
    if (!parsed) return unknown
    const arrivedAt = performance.now()
    const turn = queries.turn(line, client.remoteAddress)
    if (!turn) return work(line, client, { parsed, arrivedAt, begunAt: arrivedAt })
    return turn.then(
      () => work(line, client, { parsed, arrivedAt, begunAt: performance.now() }),
      err => failed(err, parsed),
    )
  }
}

const errorLine = (code: ErrorCode, message: string, callid?: string): string =>
  formatError(code, protocolText(code, message), callid)

/** The result of `run`, or of `rescue` where it throws or rejects. */
function settled(
  run: () => Promise<string> | string,
  rescue: (err: unknown) => string,
): Promise<string> | string {
  try {
    const result = run()
    return typeof result === 'string' ? result : result.catch(rescue)
  } catch (err) {
    return rescue(err)
  }
}
