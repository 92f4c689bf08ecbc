/**
 * Asks the application. Requests that may be repeated use pooled connections; all others get a fresh
 * one, because on a pooled one nobody could tell whether a request that got no answer was carried out.
 */
import type { ClientBody } from '../front/client-request.ts'
import { ClientGone } from '../front/client-sink.ts'
import { Cancel } from '../upstream/cancel.ts'
import type { Exchange } from '../upstream/exchange.ts'
import { UpstreamError } from '../upstream/upstream-error.ts'
import type { Field } from '../http/headers.ts'
import type { Backend, Backends } from './backends.ts'
import type { Answer, UpstreamPool, UpstreamRequest } from '../upstream/pool.ts'

export interface AppRequest {
  readonly method: string
  readonly target: string
  readonly host: string | undefined
  readonly fields: readonly Field[]
  readonly body: UploadBody | undefined
  readonly upgrade: boolean
  readonly cancel: Cancel
}

export interface UploadBody extends ClientBody {
  /** Told of every piece that was read. */
  readonly count: (bytes: number) => void
}

export type AppAnswer = Answer

/** The client stopped sending in the middle of its body. */
export class UploadStalled extends Error {
  override readonly name = 'UploadStalled'
}

export interface AppOptions {
  readonly pool: UpstreamPool
  readonly backends: Backends
  readonly connectTimeoutMs: number
  readonly appTimeoutMs: number
  /** How long a client may pause within its body. */
  readonly uploadStallMs: number
}

/** All servers are busy, and stayed so for as long as one waits for an answer. */
export class AppBusy extends Error {
  override readonly name = 'AppBusy'
}

export interface App {
  readonly backends: Backends
  /**
   * Sends a request, its body streamed, and waits for the head of the answer, which may come before
   * the body is through; the rest is then still sent along. A server that cannot be reached is
   * replaced by another; a request that may have had an effect is not sent again. `tried` is told
   * whom it goes to. Throws UpstreamError, AppBusy, UploadStalled and ClientGone.
   */
  ask(request: AppRequest, tried: (name: string) => void): Promise<AppAnswer>
}

const repeatable: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Servers asked for one request. */
const maxTries = 3

/** Creates the way to the servers of one pool. */
export function createApp(options: AppOptions): App {
  const { pool, backends, connectTimeoutMs, appTimeoutMs, uploadStallMs } = options

  function send(request: AppRequest, { peer, name }: Backend): Promise<AppAnswer> {
    const { method, cancel } = request
    const upstream = { peer, method, head: requestHead(request, name), connectTimeoutMs, cancel }
    return mayRepeat(request) ? pool.request(upstream, appTimeoutMs) : sendOnce(request, upstream)
  }

  async function sendOnce(request: AppRequest, upstream: UpstreamRequest): Promise<AppAnswer> {
    const { body, upgrade, cancel } = request
    const exchange = await pool.open(upstream, {
      fresh: true,
      withBody: body !== undefined,
      upgrade,
    })
    if (!body) return { exchange, head: await exchange.head(appTimeoutMs) }
    // The upload goes on behind the answer's back; it fails the request only while there is no answer.
    const upload = sendBody(body, exchange, uploadStallMs, cancel)
    const broken = upload.then(() => new Promise<never>(() => {}))
    const answer = Promise.race([broken, exchange.head(appTimeoutMs)])
    // Not before it was told why.
    broken.catch(() => exchange.destroy())
    return { exchange, head: await answer }
  }

  /** A place at the server; false when there was none in time. Throws ClientGone. */
  async function place({ gate }: Backend, cancel: Cancel): Promise<boolean> {
    const patience = new Cancel()
    const onAbort = (): void => patience.abort()
    const timer = setTimeout(onAbort, appTimeoutMs)
    cancel.add(onAbort)
    const entered = !cancel.aborted && (await gate.enter(patience))
    cancel.remove(onAbort)
    clearTimeout(timer)
    if (entered) return true
    if (cancel.aborted) throw new ClientGone('the client has left')
    return false
  }

  return {
    backends,
    async ask(request, tried) {
      let failure: UpstreamError | undefined
      for (const backend of backends.order().slice(0, maxTries)) {
        tried(backend.name)
        if (!backend.gate.tryEnter() && !(await place(backend, request.cancel))) {
          throw new AppBusy('all servers are busy')
        }
        try {
          const answer = await send(request, backend)
          answer.exchange.onOver(() => backend.gate.leave())
          backends.found(backend)
          return answer
        } catch (err) {
          backend.gate.leave()
          if (!(err instanceof UpstreamError)) throw err
          failure = err
          if (err.kind === 'connect') backends.lost(backend)
          else if (err.kind !== 'closed' || !mayRepeat(request)) throw err
        }
      }
      throw failure ?? new UpstreamError('connect', 'no server')
    },
  }
}

const mayRepeat = ({ method, body, upgrade }: AppRequest): boolean =>
  repeatable.has(method) && !body && !upgrade

function requestHead(
  { method, target, host, fields, body, upgrade }: AppRequest,
  authority: string,
) {
  let head = `${method} ${target} HTTP/1.1\r\nHost: ${host ?? authority}\r\n`
  for (const [name, value] of fields) head += `${name}: ${value}\r\n`
  if (body) {
    const { length } = body
    head +=
      length === undefined ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${length}\r\n`
  }
  if (upgrade) head += 'Connection: upgrade\r\nUpgrade: websocket\r\n'
  else if (fields.some(([name]) => name === 'TE')) head += 'Connection: TE\r\n'
  return `${head}\r\n`
}

/** Bytes a second that a client must send, once it had this long to come to speed. */
const minPace = 1024
const paceGraceMs = 30_000

/**
 * Streams a client's body on. A body that breaks off is never completed: neither the last chunk nor
 * the missing bytes are made up. What comes after the exchange is over is read and dropped.
 */
async function sendBody(
  body: UploadBody,
  exchange: Exchange,
  stallMs: number,
  cancel: Cancel,
): Promise<void> {
  const { stream, length, begin, count } = body
  begin()
  // Leaving the loop must not destroy the client's connection: it may still get an answer.
  const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  let bytes = 0
  let waitedMs = 0
  for (;;) {
    const askedAt = performance.now()
    const next = await nextChunk(chunks, stallMs, cancel)
    if (next.done) break
    const { value } = next
    count(value.length)
    bytes += value.length
    waitedMs += performance.now() - askedAt
    if (waitedMs > paceGraceMs && bytes * 1000 < minPace * waitedMs) {
      throw new UploadStalled('the client sends too slowly')
    }
    if (length !== undefined) await exchange.write(value)
    else {
      await exchange.write(`${value.length.toString(16)}\r\n`)
      await exchange.write(value)
      await exchange.write('\r\n')
    }
  }
  if (!stream.complete) throw new ClientGone('the client broke its body off')
  if (length === undefined) await exchange.write('0\r\n\r\n')
  exchange.endRequest()
}

/**
 * The next piece, unless the client pauses for too long or is gone. An answer that came early leaves
 * the rest of the body without anybody who would end it, which is why `cancel` has to.
 */
function nextChunk(
  chunks: AsyncIterator<Buffer>,
  stallMs: number,
  cancel: Cancel,
): Promise<IteratorResult<Buffer>> {
  return new Promise((resolve, reject) => {
    const broken = (cause?: unknown): void => {
      settle()
      reject(new ClientGone('the client broke its body off', { cause }))
    }
    const onAbort = (): void => broken()
    const timer = setTimeout(() => {
      settle()
      reject(new UploadStalled('the client sends nothing more'))
    }, stallMs)
    const settle = (): void => {
      clearTimeout(timer)
      cancel.remove(onAbort)
    }
    cancel.add(onAbort)
    chunks.next().then(next => {
      settle()
      resolve(next)
    }, broken)
    if (cancel.aborted) onAbort()
  })
}
