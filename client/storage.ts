/**
 * HTTP towards storage nodes: ours, and any WebDAV server in their place. One pool of kept-alive
 * connections per host. A failure is a `CodedError`: with the node's own code when its answer names
 * one of ours, else `storage_unreachable` with the cause; messages name host and port and never the
 * query, which may hold a signature. An aborted signal rejects with the signal's reason.
 */
import { Readable } from 'node:stream'
import { Agent, type Dispatcher } from 'undici'
import { CodedError, isCoded } from '../common/errors.ts'
import { readText } from './answers.ts'
import { createNodeRequests, type NodeRequests } from './storage-extras.ts'
import {
  partFields,
  failure,
  isClosed,
  isSuccess,
  lengthOf,
  parse,
  putAnswer,
  type PutAnswer,
  refusal,
  type Target,
  unreachable,
} from './storage-http.ts'
import { createHeadClient, type HeadOptions } from './storage-head.ts'
import { createTogether } from './storage-together.ts'
import { createWatch } from './watch.ts'

export type { PutAnswer } from './storage-http.ts'

export interface StorageClientOptions {
  /** Milliseconds until a connection stands; 1000. */
  readonly connectMs?: number
  /** Milliseconds until the first byte of an answer; 5000. A PUT is given more, by its size. */
  readonly firstByteMs?: number
  /** Milliseconds between two pieces of a body (of 256 KiB at most), in either direction; 10,000. */
  readonly gapMs?: number
  /**
   * Connections to one host; what is more waits. 32. `Infinity` where a caller holds one request
   * open while it waits for another, which a limit would turn into a deadlock.
   */
  readonly connectionsPerHost?: number
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
}

export interface PutOptions extends RequestOptions {
  /** Bytes that `body` will have; without it the body goes out chunked. */
  readonly size?: number | undefined
  /** MD5 of the body (16 bytes), for the node to compare. */
  readonly contentMd5?: Buffer | undefined
  /** `body` is these bytes of a file: from `first` on, of `total`. An empty one asks what is there from it on. */
  readonly part?: { readonly first: number; readonly total: number } | undefined
}

export interface GetOptions extends RequestOptions {
  /** First byte to read; 0. */
  readonly offset?: number | undefined
  /** Bytes to read, at least 1; all that follow. */
  readonly length?: number | undefined
  /** The Host field to send; that of the URL. */
  readonly host?: string | undefined
}

export interface RemoveOptions extends RequestOptions {
  /**
   * Where the device takes several deletions in one request (`/dev<N>/deletions`, signed for DELETE of
   * `deletions`): those that wait for each other go there together, when the node can.
   */
  readonly together?: string | undefined
}

export interface StorageClient extends NodeRequests {
  /**
   * Writes a replica; resolves once the node answered 2xx, which ours does when it is on disk. An
   * error of `body` itself rejects as it is; a `Readable` is destroyed when the put fails.
   */
  put(
    url: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<PutAnswer>
  /** Size of a stored file in bytes; undefined when the node answers 404. */
  head(url: string, options?: HeadOptions): Promise<{ size: number } | undefined>
  /**
   * Opens a replica for reading. `size` is the complete length, also of a part. The body must be
   * read or destroyed; one that ends without an error is complete. Throws not_found.
   */
  get(url: string, options?: GetOptions): Promise<{ size: number; body: Readable }>
  /** True: it was there and is deleted. False: it was not there. Throws no_such_device. */
  remove(url: string, options?: RemoveOptions): Promise<boolean>
  /** Asks for a directory (MKCOL) and returns the status of the answer, whatever it is. */
  makeDirectory(url: string, options?: RequestOptions): Promise<number>
  /** A small text (`usage`, a test file), cut at 64 KiB. Throws not_found. */
  text(url: string, options?: RequestOptions): Promise<string>
  /** Ends all connections; requests under way fail. May be called twice. */
  close(): Promise<void>
}

/** Bodies up to this size are sent in one write with the request's head. */
const oneWriteBytes = 64 * 1024

/**
 * Larger chunks are cut into such pieces, so that a stall shows. Not smaller: each is a write by
 * itself, and four of 256 KiB cost a put of 1 MiB a sixth of its processor time.
 */
const pieceBytes = 1024 * 1024

/** Of a piece, so much may take `gapMs`: a slow line is no stall. */
const gapBytes = 256 * 1024

/** Bytes a second that a node is trusted to flush at least, once it has them all. */
const flushRate = 16 * 1024 * 1024

/** Creates a client with its own connections. It opens none until the first request. */
export function createStorageClient({
  connectMs = 1_000,
  firstByteMs = 5_000,
  gapMs = 10_000,
  connectionsPerHost = 32,
}: StorageClientOptions = {}): StorageClient {
  const agent = new Agent({
    connect: { timeout: connectMs },
    connections: connectionsPerHost === Infinity ? null : connectionsPerHost,
    headersTimeout: firstByteMs,
    bodyTimeout: gapMs,
  })
  const heads = createHeadClient({
    connectMs,
    answerMs: firstByteMs,
    connections: connectionsPerHost,
  })

  async function send(
    target: Target,
    method: Dispatcher.HttpMethod,
    { signal, ...rest }: Partial<Dispatcher.RequestOptions> & RequestOptions = {},
  ): Promise<Dispatcher.ResponseData> {
    const request = { ...target, method, ...rest, ...(signal && { signal }) }
    for (let attempt = 0; ; attempt++) {
      try {
        return await agent.request(request)
      } catch (err) {
        signal?.throwIfAborted()
        // A server may close an idle connection in the moment it is used again (RFC 9112 §9.3.1).
        const again = request.body === undefined || typeof request.body === 'string'
        const stale = attempt === 0 && again && isClosed(err)
        if (!stale) throw unreachable(target, err)
      }
    }
  }

  /** Sends a body piece by piece; a node that stops taking it or never answers is given up. */
  async function sendPieces(
    target: Target,
    body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    headers: Record<string, string>,
    { signal, part }: Pick<PutOptions, 'signal' | 'part'>,
  ): Promise<Dispatcher.ResponseData> {
    const watch = createWatch(signal)
    let source: { readonly err: unknown } | undefined
    async function* pieces() {
      let sent = 0
      try {
        for await (const chunk of body) {
          for (let at = 0; at < chunk.length; at += pieceBytes) {
            const piece = chunk.subarray(at, at + pieceBytes)
            sent += piece.length
            watch.start(gapMs * Math.max(1, piece.length / gapBytes))
            yield piece
            watch.stop() // while the source is waited for, the node owes nothing
          }
        }
      } catch (err) {
        source = { err }
        throw err
      }
      // With the last part the node reads the whole file again.
      watch.start(firstByteMs + ((part?.total ?? sent) / flushRate) * 1000)
    }
    try {
      const options = { body: pieces() as never, headers, headersTimeout: 0, signal: watch.signal }
      return await send(target, 'PUT', options)
    } catch (err) {
      if (body instanceof Readable) body.destroy()
      signal?.throwIfAborted()
      if (source) throw source.err
      throw isCoded(err) ? err : unreachable(target, err)
    } finally {
      watch.close()
    }
  }

  const together = createTogether(send)
  const requests = createNodeRequests(send, together)
  return {
    ...requests,

    async put(url, body, { size, signal, contentMd5, part } = {}) {
      const target = parse(url)
      const headers: Record<string, string> = {}
      if (contentMd5) headers['content-md5'] = contentMd5.toString('base64')
      const inMemory = body instanceof Uint8Array
      const length = inMemory ? body.length : size
      if (part) Object.assign(headers, partFields(part, length ?? 0))
      let answer: Dispatcher.ResponseData
      if (inMemory && body.length <= oneWriteBytes) {
        answer = await send(target, 'PUT', { body, headers, signal })
      } else {
        if (length !== undefined) headers['content-length'] = String(length)
        answer = await sendPieces(target, inMemory ? [body] : body, headers, { signal, part })
      }
      if (!isSuccess(answer)) throw await failure(target, answer)
      await answer.body.dump()
      return putAnswer(answer.headers)
    },

    async head(url, options) {
      const target = parse(url)
      const { statusCode, contentLength } = await heads.ask(target, options)
      if (statusCode === 404) return undefined
      if (statusCode < 200 || statusCode > 299) throw refusal(target, statusCode)
      return { size: lengthOf(target, contentLength) }
    },

    async get(url, { offset = 0, length, host, signal } = {}) {
      const target = parse(url)
      const whole = offset === 0 && length === undefined
      const last = length === undefined ? '' : offset + length - 1
      const headers: Record<string, string> = whole ? {} : { range: `bytes=${offset}-${last}` }
      if (host !== undefined) headers['host'] = host
      const answer = await send(target, 'GET', { headers, signal })
      // Whoever reads it is told; broken with no reader, it must not bring the process down.
      answer.body.on('error', () => {})
      if (answer.statusCode === 200 && whole) {
        try {
          return { size: lengthOf(target, answer.headers['content-length']), body: answer.body }
        } catch (err) {
          answer.body.destroy()
          throw err
        }
      }
      if (answer.statusCode === 206 && !whole) {
        const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(String(answer.headers['content-range']))
        const size = Number(range?.[3])
        const wanted = length === undefined ? size - 1 : Math.min(offset + length, size) - 1
        if (Number(range?.[1]) === offset && Number(range?.[2]) === wanted) {
          return { size, body: answer.body }
        }
        answer.body.destroy()
        throw new CodedError('storage_unreachable', `${target.who} answered another range`)
      }
      throw await failure(target, answer)
    },

    async remove(url, { together: at, signal } = {}) {
      const target = parse(url)
      if (at !== undefined && (await requests.capabilities(url, { signal })).has('deletions')) {
        return together(at, { path: target.path }, signal).then(
          () => true,
          (err: unknown) => {
            if (isCoded(err, 'not_found')) return false
            throw err
          },
        )
      }
      const answer = await send(target, 'DELETE', { signal })
      if (isSuccess(answer)) {
        await answer.body.dump()
        return true
      }
      const err = await failure(target, answer)
      // Without its device the node cannot know: the file may come back with the disk.
      if (answer.statusCode === 404 && err.code !== 'no_such_device') return false
      throw err
    },

    async makeDirectory(url, { signal } = {}) {
      const method = 'MKCOL' as Dispatcher.HttpMethod
      const headers = { 'content-length': '0' }
      const answer = await send(parse(url), method, { headers, signal })
      await answer.body.dump()
      return answer.statusCode
    },

    async text(url, { signal } = {}) {
      const target = parse(url)
      const answer = await send(target, 'GET', { signal })
      if (!isSuccess(answer)) throw await failure(target, answer)
      try {
        return await readText(answer.body)
      } catch (err) {
        signal?.throwIfAborted()
        throw unreachable(target, err)
      }
    },

    close() {
      heads.close()
      return agent.destroy()
    },
  }
}
