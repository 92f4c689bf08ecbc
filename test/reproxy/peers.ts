/** The peers of a reproxy under test: clients, an application, storage nodes that misbehave on demand. */
import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Test } from 'tap'
import {
  createReproxy,
  resolveConfig,
  type Reproxy,
  type ReproxyConfig,
} from '../../reproxy/index.ts'

/** Waits until `condition` holds; fails the test when it does not within `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 60_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${condition.toString()}`)
    await sleep(5)
  }
}

/** Writes and waits until the next piece may follow, or the socket is gone. */
export async function writePaced(socket: Socket, piece: Buffer): Promise<void> {
  if (socket.destroyed || socket.write(piece)) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      socket.off('drain', done).off('close', done)
      resolve()
    }
    socket.on('drain', done).on('close', done)
  })
}

async function listen(t: Test, server: Server, sockets: Set<Socket>): Promise<number> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port
}

export interface HttpPeer {
  readonly port: number
  readonly sockets: Set<Socket>
}

/** An ordinary HTTP server. */
export async function httpPeer(t: Test, listener: RequestListener): Promise<HttpPeer> {
  const sockets = new Set<Socket>()
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, listener)
  return { port: await listen(t, server, sockets), sockets }
}

/** A request as it came over the wire. */
export interface WireRequest {
  /** Request line and fields, without the empty line. */
  readonly head: string
  readonly socket: Socket
  /** How many requests came before it on its connection. */
  readonly earlier: number
  /** The value of its Range field. */
  readonly range: string | undefined
}

export interface RawPeer extends HttpPeer {
  readonly requests: WireRequest[]
  readonly connections: () => number
  /** `http://127.0.0.1:PORT/path` */
  readonly url: (path?: string) => string
}

/** A server that sees the bytes of bodyless requests and writes whatever it likes. */
export async function rawPeer(
  t: Test,
  answer: (request: WireRequest) => void | Promise<void>,
): Promise<RawPeer> {
  const sockets = new Set<Socket>()
  const requests: WireRequest[] = []
  let connections = 0
  const server = createServer(socket => {
    connections++
    let earlier = 0
    let text = ''
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end)
        text = text.slice(end + 4)
        const range = /\r\nrange: *([^\r]*)/i.exec(head)?.[1]
        const request = { head, socket, earlier: earlier++, range }
        requests.push(request)
        void answer(request)
      }
    })
  })
  const port = await listen(t, server, sockets)
  return {
    port,
    sockets,
    requests,
    connections: () => connections,
    url: (path = '/dev1/f.fid') => `http://127.0.0.1:${port}${path}`,
  }
}

/** The bytes of a 200. */
export const ok = (body: string, extra = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${extra}\r\n${body}`

/** A storage node that serves `file` properly, ranges included. */
export function fileNode(t: Test, file: Buffer | string, extra = ''): Promise<RawPeer> {
  const bytes = Buffer.from(file)
  return rawPeer(t, ({ head, socket, range }) => {
    const body = (from: number, to: number): Buffer | string =>
      head.startsWith('HEAD') ? '' : bytes.subarray(from, to)
    const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range ?? '') ?? []
    if (first === '' && last === '') {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n${extra}\r\n`)
      socket.write(body(0, bytes.length))
      return
    }
    const from = first === '' ? Math.max(0, bytes.length - Number(last)) : Number(first)
    const to = first === '' || last === '' ? bytes.length : Math.min(Number(last) + 1, bytes.length)
    if (from >= bytes.length || (first === '' && last === '0')) {
      socket.write(
        `HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */${bytes.length}\r\nContent-Length: 4\r\n\r\nnope`,
      )
      return
    }
    socket.write(
      `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ${from}-${to - 1}/${bytes.length}\r\nContent-Length: ${to - from}\r\n${extra}\r\n`,
    )
    socket.write(body(from, to))
  })
}

/** Settings of a reproxy under test, and the ports of nodes that it may contact. */
export type ProxyConfig = Partial<ReproxyConfig> & { ports?: readonly number[] }

export interface Proxy {
  readonly port: number
  readonly reproxy: Reproxy
  readonly config: ReproxyConfig
  /** The access log, one object per request, and every other line. */
  readonly lines: Record<string, unknown>[]
}

/** A running reproxy in front of port `app`; nodes on the loopback are allowed unless said otherwise. */
export async function startProxy(t: Test, app: number, config: ProxyConfig = {}): Promise<Proxy> {
  const { ports = [], ...rest } = config
  const lines: Record<string, unknown>[] = []
  const log = pino(
    { level: 'info' },
    new Writable({
      write(line: Buffer, _encoding, done) {
        lines.push(JSON.parse(line.toString()) as Record<string, unknown>)
        done()
      },
    }),
  )
  const resolved = resolveConfig({
    listen: '127.0.0.1:0',
    apps: [`127.0.0.1:${app}`],
    drainTimeoutMs: 500,
    allowTargets: ports.map(port => `127.0.0.1:${port}`),
    ...rest,
  })
  const reproxy = createReproxy(resolved, log)
  await reproxy.start()
  t.teardown(() => reproxy.close().catch(() => {}))
  return { port: reproxy.address.port, reproxy, config: resolved, lines }
}

/** An application that answers every request with a list of URLs, and a proxy in front of it. */
export async function fileProxy(
  t: Test,
  list: string,
  config: Parameters<typeof startProxy>[2] & {
    fields?: Record<string, string | string[]>
    status?: number
  } = {},
): Promise<Proxy & { app: HttpPeer }> {
  const { fields = {}, status = 200, ...rest } = config
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(status, { 'X-Reproxy-URL': list, ...fields })
    res.end(status === 304 || status === 204 ? undefined : 'the body of the application')
  })
  return { ...(await startProxy(t, app.port, rest)), app }
}

/** A response as it came over the wire. */
export interface WireResponse {
  readonly status: number
  /** Status line and fields. */
  readonly head: string
  readonly body: Buffer
  /** The connection ended, rather than going on. */
  readonly closed: boolean
  readonly field: (name: string) => string | undefined
}

/** A connection that is written to as one likes, and whose responses are read strictly. */
export class RawClient {
  readonly socket: Socket
  closed = false
  reset = false
  #bytes: Buffer = Buffer.alloc(0)
  #wake: () => void = () => {}

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
    this.socket.on('error', (err: NodeJS.ErrnoException) => {
      this.reset = err.code === 'ECONNRESET'
    })
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.closed = true
        this.#wake()
      })
    }
  }

  send(text: string | Buffer): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Everything that came and was not taken yet. */
  get pending(): Buffer {
    return this.#bytes
  }

  /** Waits for more; throws after 10 s. */
  async more(): Promise<void> {
    if (this.closed) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing more came')), 10_000)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Waits until the other side has closed. */
  async end(): Promise<Buffer> {
    while (!this.closed) await this.more()
    return this.#bytes
  }

  /** The next response. A body cut short is returned as far as it came, with `closed`. */
  async response({ method = 'GET' } = {}): Promise<WireResponse> {
    let head: string
    let status: number
    do {
      while (!this.#bytes.includes('\r\n\r\n')) {
        if (this.closed)
          throw new Error(`closed after ${JSON.stringify(this.#bytes.toString('latin1'))}`)
        await this.more()
      }
      head = this.#take(this.#bytes.indexOf('\r\n\r\n') + 4).toString('latin1')
      status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    } while (status === 100)
    const field = (name: string): string | undefined => {
      const lines = head
        .split('\r\n')
        .filter(l => l.toLowerCase().startsWith(`${name.toLowerCase()}:`))
      return lines.length > 0
        ? lines.map(l => l.slice(name.length + 1).trim()).join(', ')
        : undefined
    }
    let body: Buffer = Buffer.alloc(0)
    const length = field('content-length')
    if (method === 'HEAD' || status === 204 || status === 304 || status === 101) {
      // no body
    } else if (field('transfer-encoding') !== undefined) body = await this.#chunked()
    else if (length === undefined) {
      await this.end()
      body = this.#take(this.#bytes.length)
    } else {
      while (this.#bytes.length < Number(length) && !this.closed) await this.more()
      body = this.#take(Number(length))
    }
    return { status, head, body, field, closed: this.closed }
  }

  async #chunked(): Promise<Buffer> {
    const parts: Buffer[] = []
    for (;;) {
      while (!this.#bytes.includes('\r\n')) {
        if (this.closed) return Buffer.concat(parts)
        await this.more()
      }
      const size = Number.parseInt(
        this.#take(this.#bytes.indexOf('\r\n') + 2).toString('latin1'),
        16,
      )
      while (this.#bytes.length < size + 2 && !this.closed) await this.more()
      parts.push(this.#take(size))
      this.#take(2)
      if (size === 0) return Buffer.concat(parts)
    }
  }

  #take(length: number): Buffer {
    const taken = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return taken
  }
}

/** Opens a connection that ends with the test. */
export function client(t: Test, port: number): RawClient {
  const raw = new RawClient(port)
  t.teardown(() => raw.socket.destroy())
  return raw
}

/** One request on a connection of its own. */
export async function fetchRaw(
  t: Test,
  port: number,
  { method = 'GET', target = '/', fields = '', body = '', version = '1.1' } = {},
): Promise<WireResponse> {
  const raw = client(t, port)
  raw.send(`${method} ${target} HTTP/${version}\r\nHost: site.example\r\n${fields}\r\n${body}`)
  const response = await raw.response({ method })
  raw.socket.destroy()
  return response
}
