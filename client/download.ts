/** Reading a file: from the first replica that answers, checked in flight. */
import { createHash, webcrypto } from 'node:crypto'
import { finished, Readable } from 'node:stream'
import { CodedError, isCoded } from '../common/errors.ts'
import type { Located } from '../common/protocol/files.ts'
import { isNotModified, type Conditions } from './conditions.ts'
import { toEntry, type FileEntry } from './entries.ts'
import { headersOf } from './headers.ts'
import { createReplicas, type Range, type Replicas } from './replicas.ts'
import type { StorageClient } from './storage.ts'

/**
 * A file that is open for reading. Read it in exactly one of the ways below, or `body.destroy()` it:
 * until then it holds a connection.
 */
export interface ReadableFile extends FileEntry {
  /** The part that is read; `size` is the size of the whole file. */
  readonly range: Range
  /**
   * The bytes. A replica that fails is followed by another at the same offset. Ends only when all
   * bytes came and, for a whole file, have the right SHA-256; else it fails, with checksum_mismatch
   * before the last piece is given.
   */
  readonly body: Readable
  /** `body` as a web stream. */
  stream(): ReadableStream<Uint8Array>
  /** All bytes. A replica with wrong bytes is passed over; checksum_mismatch when no other is left. */
  bytes(): Promise<Uint8Array>
  /** All bytes as UTF-8 text. */
  text(): Promise<string>
  /** All bytes parsed as JSON. */
  json<T = unknown>(): Promise<T>
  /** All bytes with the content type. */
  blob(): Promise<Blob>
  /**
   * `stream()` as the answer of a web handler, 206 for a part: with type, length, entity tag, time of
   * change, and `headers` on top.
   */
  response(headers?: HeadersInit): Response
}

export interface DownloadOptions {
  readonly storage: StorageClient
  /** What is to be read. */
  readonly located: Located
  /** Asks for it anew. */
  readonly locate: () => Promise<Located>
  readonly start: number
  readonly end: number | undefined
  readonly verify: boolean
  readonly signal: AbortSignal | undefined
  readonly conditions: Pick<Conditions, 'ifMatch'>
}

/**
 * Opens a file at the first replica that answers. Throws what `locate` throws, precondition_failed,
 * bad_args, range_not_satisfiable, or no_replica with the causes.
 */
export async function download(options: DownloadOptions): Promise<ReadableFile> {
  let { located } = options
  for (;;) {
    try {
      return await begin(located, options)
    } catch (err) {
      if (!isCoded(err, 'no_replica')) throw err
      // Replaced since it was located, its old replicas are gone by right.
      const fresh = await options.locate()
      if (fresh.fid === located.fid) throw err
      isNotModified(fresh, { ifMatch: options.conditions.ifMatch })
      located = fresh
    }
  }
}

/** One read of one content, its first replica open. */
interface Reading {
  readonly range: Range
  readonly replicas: Replicas
  /** What the bytes must hash to, where all of them are read and it is known. */
  readonly sha256: string | undefined
  readonly signal: AbortSignal
}

async function begin(located: Located, options: DownloadOptions): Promise<ReadableFile> {
  const { storage, locate, verify, signal: outer } = options
  const range = rangeOf(located.size, options)
  const whole = range.end - range.start === located.size
  const abort = new AbortController()
  const { signal } = abort
  const replicas = createReplicas({ storage, located, locate, signal })
  const sha256 = whole && verify ? located.sha256 : undefined
  const reading: Reading = { range, replicas, sha256, signal }

  let body: Readable | undefined
  const onAbort = (): void => {
    abort.abort(outer?.reason)
    body?.destroy(outer?.reason as Error)
  }
  const done = (): void => outer?.removeEventListener('abort', onAbort)
  if (outer?.aborted) onAbort()
  outer?.addEventListener('abort', onAbort, { once: true })

  let first: Readable | undefined
  try {
    signal.throwIfAborted()
    if (range.start < range.end) first = await replicas.open(range)
  } catch (err) {
    done()
    throw err
  }

  let taken = false
  function take(): void {
    if (taken) throw new TypeError('this file is being read already')
    taken = true
  }
  function openBody(): Readable {
    if (body) return body
    take()
    const chunks = read(reading, first)
    body = new Readable({
      highWaterMark: 65_536,
      read() {
        chunks.next().then(
          ({ value }) => this.push(value ?? null),
          (err: Error) => this.destroy(err),
        )
      },
      destroy(err, callback) {
        done()
        abort.abort() // a reader that leaves early frees the connection at once
        callback(err)
      },
    })
    return body
  }
  async function bytes(): Promise<Buffer<ArrayBuffer>> {
    take()
    return await readAll(reading, first).finally(done)
  }
  const { urls: _, expiresAt: __, ...info } = located
  const type = located.contentType ?? ''
  const entry = toEntry(info)
  return {
    ...entry,
    range,
    get body() {
      return openBody()
    },
    stream: () => Readable.toWeb(openBody()) as ReadableStream<Uint8Array>,
    bytes,
    text: async () => (await bytes()).toString('utf8'),
    json: async <T>() => JSON.parse((await bytes()).toString('utf8')) as T,
    blob: async () => new Blob([await bytes()], { type }),
    response: headers =>
      new Response(Readable.toWeb(openBody()) as ReadableStream<Uint8Array<ArrayBuffer>>, {
        status: whole ? 200 : 206,
        headers: {
          ...headersOf(entry, whole ? undefined : range),
          ...Object.fromEntries(new Headers(headers)),
        },
      }),
  }
}

function rangeOf(size: number, { start, end = Math.max(start, size) }: DownloadOptions): Range {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
    throw new CodedError('bad_args', `not a range of bytes: ${start} to ${end}`)
  }
  if (start > size) {
    throw new CodedError('range_not_satisfiable', `the file has ${size} bytes, none at ${start}`)
  }
  return { start, end: Math.min(end, size) }
}

/** The bytes of a range, beginning with the replica that is open already. */
async function* read(
  { range, replicas, sha256, signal }: Reading,
  first: Readable | undefined,
): AsyncGenerator<Buffer> {
  const hash = sha256 === undefined ? undefined : createHash('sha256')
  let at = range.start
  let open = first
  while (at < range.end) {
    const body: Readable = open ?? (await replicas.open({ start: at, end: range.end }))
    open = undefined
    let problem: unknown = new Error('the answer ended early')
    let mismatch: CodedError | undefined
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (at + chunk.length > range.end) throw new Error('the answer is too long')
        replicas.gaveBytes()
        at += chunk.length
        hash?.update(chunk)
        // Before the last piece goes out: a reader must not get all of a bad file.
        if (at === range.end) mismatch = compare(hash?.digest('hex'), sha256)
        if (mismatch) break
        yield chunk
      }
    } catch (err) {
      signal.throwIfAborted()
      problem = err
    }
    if (mismatch) throw mismatch
    if (at < range.end) replicas.failed(problem)
  }
}

function compare(found: string | undefined, wanted: string | undefined): CodedError | undefined {
  if (found === wanted) return undefined
  return new CodedError('checksum_mismatch', `the bytes have SHA-256 ${found}, not ${wanted}`)
}

/** A range in memory; replicas whose bytes are wrong are passed over. */
async function readAll(
  { range, replicas, sha256, signal }: Reading,
  first: Readable | undefined,
): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.allocUnsafeSlow(range.end - range.start)
  const aside = sha256 !== undefined && bytes.length >= asideFrom && bytes.length <= asideTo
  let open = first
  let mismatch: CodedError | undefined
  for (;;) {
    const hash = sha256 === undefined || aside ? undefined : createHash('sha256')
    const filling: Filling = { bytes, at: 0, take: chunk => void hash?.update(chunk) }
    while (filling.at < bytes.length) {
      const start = range.start + filling.at
      const body = open ?? (await replicas.open({ start, end: range.end }).catch(noneLeft))
      open = undefined
      const problem = await fill(filling, body)
      signal.throwIfAborted()
      if (filling.at > 0) replicas.gaveBytes()
      if (filling.at < bytes.length) replicas.failed(problem)
    }
    mismatch = compare(aside ? await hashAside(bytes) : hash?.digest('hex'), sha256)
    if (!mismatch) return bytes
    replicas.failed(mismatch)
    replicas.rejectUsed()
  }
  function noneLeft(err: unknown): never {
    throw isCoded(err, 'no_replica') ? (mismatch ?? err) : err
  }
}

/**
 * Bytes in memory of these sizes are hashed by another thread, while this one reads the next file. For
 * fewer that is not worth it, and of more it would need a second copy.
 */
const asideFrom = 128 * 1024
const asideTo = 16 * 1024 * 1024

const hashAside = async (bytes: Buffer<ArrayBuffer>): Promise<string> =>
  Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex')

/** A place in memory for the bytes of a body, or of several that go on from each other. */
interface Filling {
  readonly bytes: Buffer
  /** Where the next ones go. */
  at: number
  /** Given every piece. */
  readonly take: (piece: Buffer) => void
}

/**
 * Reads `body` to its end, or until it breaks: resolves with the reason. There is room for all of
 * it, so nobody has to be waited for, and that is cheaper than taking it piece by piece.
 */
function fill(filling: Filling, body: Readable): Promise<Error> {
  return new Promise(resolve => {
    body.on('data', (chunk: Buffer) => {
      if (filling.at + chunk.length > filling.bytes.length) {
        body.destroy(new Error('the answer is too long'))
        return
      }
      filling.at += chunk.copy(filling.bytes, filling.at)
      filling.take(chunk)
    })
    // Told too of one that broke before anybody read it.
    finished(body, err => resolve(err ?? new Error('the answer ended early')))
  })
}
