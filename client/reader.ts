/**
 * Opening replicas for reading, where many are read: over connections of its own to nodes that are
 * spoken to in plain HTTP, and like everything else where that is not enough.
 */
import { finished, type Readable } from 'node:stream'
import { ReadConnection, type ReadAnswer, type Sink } from './read-connection.ts'
import { parse, unreachable, type Target } from './storage-http.ts'
import type { GetOptions, StorageClient } from './storage.ts'

/** A replica, or a part of one, that is open for reading. It is received to its end or closed. */
export interface OpenReplica {
  /** Bytes of the whole file. */
  readonly size: number
  /** Gives all bytes to `sink`; once. Rejects with the reason when it breaks. */
  receive(sink: Sink): Promise<void>
  /** Goes on after the sink has said that it takes no more. */
  resume(): void
  close(): void
}

export interface ReaderOptions {
  readonly storage: StorageClient
  /** Milliseconds, as of the storage client: until a connection stands; 1000. */
  readonly connectMs?: number
  /** Until the first byte of an answer; 5000. */
  readonly firstByteMs?: number
  /** Between two pieces of a body that somebody waits for; 10,000. */
  readonly gapMs?: number
}

export interface Reader {
  /** Opens a replica; `length` is not 0. Throws what the storage client's `get` throws. */
  open(url: string, options?: Omit<GetOptions, 'host'>): Promise<OpenReplica>
  /** Ends all connections; what is under way fails. May be called twice. */
  close(): void
}

/** Creates a reader; it opens no connection until the first replica. */
export function createReader({
  storage,
  connectMs = 1_000,
  firstByteMs = 5_000,
  gapMs = 10_000,
}: ReaderOptions): Reader {
  const idle = new Map<string, ReadConnection[]>()
  const all = new Set<ReadConnection>()

  function connectionTo(target: Target): ReadConnection {
    let free = idle.get(target.origin)
    if (!free) idle.set(target.origin, (free = []))
    const kept = free.pop() // the one that was used last
    if (kept) return kept
    const connection: ReadConnection = new ReadConnection({
      target,
      connectMs,
      firstByteMs,
      gapMs,
      onIdle: () => free.push(connection),
      onEnd() {
        all.delete(connection)
        const at = free.indexOf(connection)
        if (at >= 0) free.splice(at, 1)
      },
    })
    all.add(connection)
    return connection
  }

  /** Undefined where it takes a whole HTTP client. */
  async function openPlain(
    target: Target,
    { offset = 0, length, signal }: Omit<GetOptions, 'host'>,
  ): Promise<OpenReplica | undefined> {
    if (!target.origin.startsWith('http:')) return undefined
    signal?.throwIfAborted()
    const whole = offset === 0 && length === undefined
    const last = length === undefined ? '' : offset + length - 1
    const connection = connectionTo(target)
    const stop = (): void => connection.close(signal?.reason as Error)
    const done = (): void => signal?.removeEventListener('abort', stop)
    signal?.addEventListener('abort', stop, { once: true })
    let answer: ReadAnswer | undefined
    try {
      const range = whole ? undefined : `bytes=${offset}-${last}`
      answer = await connection.ask(target.path, range)
    } catch (err) {
      done()
      signal?.throwIfAborted()
      throw unreachable(target, err)
    }
    const size = answer && sizeOf(answer, whole ? undefined : { offset, length })
    if (!answer || size === undefined) {
      done()
      connection.close(new Error('an answer of another kind'))
      return undefined
    }
    let complete = answer.length === 0
    return {
      size,
      async receive(sink) {
        if (complete) return
        await connection.receive(sink).finally(done)
        complete = true
      },
      resume() {
        if (!complete) connection.resume()
      },
      close() {
        done()
        if (!complete) connection.close(new Error('closed by the reader'))
      },
    }
  }

  return {
    async open(url, options = {}) {
      const plain = await openPlain(parse(url), options)
      if (plain) return plain
      const { size, body } = await storage.get(url, options)
      return { size, ...receiveFrom(body) }
    },
    close() {
      for (const connection of all) connection.close(new Error('the client was closed'))
    },
  }
}

/** The complete length that an answer tells; undefined when it is not the part that was asked for. */
function sizeOf(
  { statusCode, length, contentRange }: ReadAnswer,
  part: { readonly offset: number; readonly length: number | undefined } | undefined,
): number | undefined {
  if (!part) return statusCode === 200 ? length : undefined
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '') ?? []
  const size = Number(total)
  const end = part.length === undefined ? size : Math.min(part.offset + part.length, size)
  const isIt = Number(first) === part.offset && Number(last) === end - 1
  return statusCode === 206 && isIt && length === end - part.offset ? size : undefined
}

/** A stream received in the same way. */
function receiveFrom(body: Readable): Omit<OpenReplica, 'size'> {
  return {
    receive: sink =>
      new Promise((resolve, reject) => {
        body.on('data', (chunk: Buffer) => {
          for (let rest: Uint8Array = chunk; rest.length > 0;) {
            const room = sink.room()
            if (room.length === 0) return void body.destroy(new Error('the answer is too long'))
            const piece = rest.subarray(0, room.length)
            room.set(piece)
            rest = rest.subarray(piece.length)
            if (!sink.take(piece.length)) body.pause()
          }
        })
        // Told too of one that broke before anybody read it.
        finished(body, err => (err ? reject(err) : resolve()))
      }),
    resume: () => void body.resume(),
    close: () => void body.destroy(),
  }
}
