/**
 * Refuses requests that Node's HTTP parser accepts but RFC 9112, read strictly, does not allow, and
 * closes connections so that the client still gets the answer. Node's parser itself refuses broken
 * framing: both kinds of length at once, line ends without CR, bad chunk sizes.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { CodedError } from './errors.ts'
import { errorBody } from './http-error.ts'

const maxTargetBytes = 8 * 1024
const maxHeaderLines = 200

/** Milliseconds that a client which is still sending gets to read our answer before we close. */
const lingerMs = 1_000

/** Connections that get no further answer. */
const closing = new WeakSet<Socket>()

/** The answer to the newest request on each connection. */
const newest = new WeakMap<Socket, ServerResponse>()

/** Connections that are not read from, because a request on them waits for its turn. */
const held = new WeakSet<Socket>()

/** For connections that are read before Node gets the bytes: whether the request line has arrived. */
const lineSeen = new WeakMap<Socket, boolean>()

/**
 * To be called by code that reads a connection itself and passes the bytes on to Node; `first` marks the
 * beginning of a request. When a head is too long, Node does not tell whether its request line was, and
 * the answer depends on that.
 */
export function notePassed(socket: Socket, bytes: Buffer, first = false): void {
  if (first || lineSeen.get(socket) === false) lineSeen.set(socket, bytes.includes('\n'))
}

/** Makes `app` refuse requests whose head breaks the rules. Their connection is closed. */
export function guardRequests(app: FastifyInstance): void {
  const server: Server = app.server
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => {})
    refuse(socket, new CodedError('method_not_allowed', 'CONNECT is not for this server'))
  })
  server.on('checkExpectation', (request: IncomingMessage) => {
    refuse(request.socket, new CodedError('expectation_failed', 'only 100-continue is known'))
  })
  server.on('timeout', (socket: Socket) => {
    if (!isWorking(socket)) socket.destroy()
  })
  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request
    lineSeen.delete(raw.socket)
    const begin = (): void => {
      if (newest.get(raw.socket) === reply.raw) release(raw.socket)
      if (closing.has(raw.socket) || raw.socket.destroyed) {
        // It was sent after a request that closed the connection, so it must have no effect.
        reply.hijack()
        return
      }
      const fault = faultOf(raw, request.originalUrl)
      if (fault) reply.header('connection', 'close')
      done(fault)
    }
    // Pipelined requests are handled one after the other (RFC 9112 section 9.3.2). Node would handle
    // them at the same time and only send the answers in order.
    const before = newest.get(raw.socket)
    newest.set(raw.socket, reply.raw)
    if (before && !before.writableFinished) {
      before.once('close', begin)
      hold(raw.socket)
    } else {
      begin()
    }
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (hasBody(request.raw) && !request.raw.complete) reply.header('connection', 'close')
    if (reply.getHeader('connection') === 'close') closeGently(request.raw.socket)
    done(null, payload)
  })
}

function faultOf(raw: IncomingMessage, target: string): CodedError | undefined {
  const { headers, rawHeaders, httpVersionMajor: major, httpVersionMinor: minor } = raw
  if (major > 1) return new CodedError('version_not_supported', 'this server speaks HTTP/1.1')
  if (major < 1) return new CodedError('bad_request', 'no HTTP version')
  if (target.length > maxTargetBytes) {
    return new CodedError('uri_too_long', `a request target has at most ${maxTargetBytes} bytes`)
  }
  if (rawHeaders.length > 2 * maxHeaderLines) {
    return new CodedError('headers_too_large', `at most ${maxHeaderLines} header lines`)
  }
  const asterisk = target === '*' && raw.method === 'OPTIONS'
  if (!asterisk && !/^\/[\x21\x22\x24-\x7e]*$/.test(target)) {
    return new CodedError('bad_request', 'the request target is not a path')
  }
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (minor === 0 || coding.toLowerCase() !== 'chunked')) {
    return new CodedError('bad_request', 'the only transfer coding is chunked, of HTTP/1.1')
  }
  if (!Number.isSafeInteger(Number(headers['content-length'] ?? 0))) {
    return new CodedError('bad_request', 'Content-Length is too large')
  }
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === 'host') hosts++
  }
  if (hosts > 1 || (hosts === 0 && minor > 0)) {
    return new CodedError('bad_request', 'a request has one Host')
  }
  if (!/^[\w.~!$&'()*+,;=:%[\]-]*$/.test(headers.host ?? '')) {
    return new CodedError('bad_request', 'Host is not an authority')
  }
  return undefined
}

/** True while we work on a request that has arrived completely, and nothing waits for the client to read. */
function isWorking(socket: Socket): boolean {
  const answer = newest.get(socket)
  return answer?.writableFinished === false && answer.req.complete && socket.writableLength === 0
}

/**
 * Stops reading from a connection. Otherwise Node would read all requests that the client sends, and
 * keep some kilobytes for each; this way only those of one read wait.
 */
function hold(socket: Socket): void {
  if (held.has(socket)) return
  held.add(socket)
  socket.on('resume', stayPaused)
  socket.pause()
}

function release(socket: Socket): void {
  if (!held.delete(socket)) return
  socket.off('resume', stayPaused)
  socket.resume()
}

/** Node resumes the socket after each request that it has read. */
function stayPaused(this: Socket): void {
  this.pause()
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/**
 * Makes the connection close gently after the current answer: our side ends, and for a moment what the
 * client still sends is thrown away. Closing at once would reset the connection, and the client could
 * lose the answer (RFC 9112 section 9.6).
 */
function closeGently(socket: Socket): void {
  if (closing.has(socket)) return
  closing.add(socket)
  socket.destroySoon = () => {
    socket.end()
    const timer = setTimeout(() => socket.destroy(), lingerMs)
    socket.once('close', () => clearTimeout(timer))
  }
}

interface ParserError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
}

/** Answers bytes that are not a valid request, if no other answer has begun on the connection. */
export function answerClientError(err: ParserError, socket: Socket): void {
  if (closing.has(socket)) return
  // Only errors of the parser and the timeout of a head are answered; the rest are broken connections.
  const timedOut = err.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const answered = (socket as { _httpMessage?: { headersSent: boolean } })._httpMessage?.headersSent
  if (answered || !socket.writable || !(timedOut || err.code?.startsWith('HPE_'))) {
    socket.destroy()
    return
  }
  refuse(
    socket,
    timedOut
      ? new CodedError('request_timeout', 'the request took too long')
      : parseFault(err, lineSeen.get(socket)),
  )
}

/** The error for what the parser did not accept. */
function parseFault({ code, rawPacket }: ParserError, hasLine?: boolean): CodedError {
  const firstLine = (rawPacket?.toString('latin1') ?? '').split('\n', 1)[0] ?? ''
  if (code === 'HPE_HEADER_OVERFLOW') {
    const isLine = hasLine === undefined ? firstLine.length > maxTargetBytes : !hasLine
    return isLine
      ? new CodedError('uri_too_long', `a request target has at most ${maxTargetBytes} bytes`)
      : new CodedError('headers_too_large', 'the request head is too large')
  }
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return new CodedError('payload_too_large', 'chunk extensions are too large')
  }
  if (code === 'HPE_INVALID_VERSION' && / HTTP\/\d\.\d\r$/.test(firstLine)) {
    return new CodedError('version_not_supported', 'this server speaks HTTP/1.1')
  }
  return new CodedError('bad_request', 'this is no HTTP/1.1 request')
}

/** Writes a whole answer straight to the socket, since there may be no response object, and closes. */
export function refuse(socket: Socket, error: CodedError): void {
  const body = errorBody(error)
  const text = JSON.stringify(body)
  const retry = body.statusCode === 503 || body.statusCode === 429 ? 'Retry-After: 1\r\n' : ''
  closeGently(socket)
  socket.write(
    `HTTP/1.1 ${body.statusCode} ${body.error}\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `${retry}Content-Length: ${Buffer.byteLength(text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${text}`,
  )
  socket.destroySoon()
}
