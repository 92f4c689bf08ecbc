/** Reading a file: from the first replica that answers, checked in flight. */
import { createHash, webcrypto } from 'node:crypto'
import { Readable } from 'node:stream'
import { CodedError, isCoded } from '../common/errors.ts'
import type { Located } from '../common/protocol/files.ts'
import { isNotModified, type Conditions } from './conditions.ts'
import { toEntry, type FileEntry } from './entries.ts'
import { headersOf } from './headers.ts'
import type { Sink } from './read-connection.ts'
import type { OpenReplica, Reader } from './reader.ts'
import type { ReplicaReports } from './replica-reports.ts'
import { createReplicas, type Range, type Replicas } from './replicas.ts'

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
  readonly reader: Reader
  readonly reports: ReplicaReports
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
  const { reader, reports, locate, verify, signal: outer } = options
  const range = rangeOf(located.size, options)
  const whole = range.end - range.start === located.size
  const abort = new AbortController()
  const { signal } = abort
  const replicas = createReplicas({ reader, located, locate, reports, signal })
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

  let first: OpenReplica | undefined
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
    const flow = createFlow(reading, first)
    body = new Readable({
      highWaterMark: 65_536,
      read() {
        flow(this)
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

/** Bytes that a stream has room for at once, and the least that is worth a read. */
const slabBytes = 64 * 1024
const leastBytes = 16 * 1024

/**
 * Pushes the bytes of a range to the stream that it is called with whenever that wants some, beginning
 * with the replica that is open already.
 */
function createFlow(
  { range, replicas, sha256, signal }: Reading,
  first: OpenReplica | undefined,
): (stream: Readable) => void {
  const hash = sha256 === undefined ? undefined : createHash('sha256')
  let at = range.start
  let slab = Buffer.alloc(0)
  let current: OpenReplica | undefined
  let begun = false

  const sinkTo = (stream: Readable): Sink => ({
    room() {
      const left = range.end - at
      if (slab.length < Math.min(leastBytes, left)) {
        slab = Buffer.allocUnsafeSlow(Math.min(slabBytes, left))
      }
      return slab.subarray(0, left)
    },
    take(count) {
      const chunk = slab.subarray(0, count)
      slab = slab.subarray(count)
      at += count
      replicas.gaveBytes()
      hash?.update(chunk)
      if (at < range.end) return stream.push(chunk)
      // Before the last piece goes out: a reader must not get all of a bad file.
      const mismatch = compare(hash?.digest('hex'), sha256)
      if (mismatch) {
        replicas.rejectUsed()
        stream.destroy(mismatch)
      } else stream.push(chunk)
      return false
    },
  })

  async function pushAll(stream: Readable): Promise<void> {
    const sink = sinkTo(stream)
    for (let next = first; at < range.end; next = undefined) {
      current = next ?? (await replicas.open({ start: at, end: range.end }))
      const problem = await problemOf(current.receive(sink))
      current.close()
      signal.throwIfAborted()
      if (at < range.end) replicas.failed(problem ?? endedEarly())
    }
    stream.push(null)
  }

  return stream => {
    if (begun) return current?.resume()
    begun = true
    pushAll(stream).catch((err: Error) => stream.destroy(err))
  }
}

const endedEarly = (): Error => new Error('the answer ended early')

/** Why a replica did not go on; undefined when it did not say. */
const problemOf = (receiving: Promise<void>): Promise<unknown> =>
  receiving.then(
    () => undefined,
    (err: unknown) => err,
  )

function compare(found: string | undefined, wanted: string | undefined): CodedError | undefined {
  if (found === wanted) return undefined
  return new CodedError('checksum_mismatch', `the bytes have SHA-256 ${found}, not ${wanted}`)
}

/**
 * Files of these sizes are digested beside the main thread when they are complete: smaller ones take
 * longer to hand over, and larger ones would be waited for.
 */
const asideBytes = { least: 256 * 1024, most: 8 * 1024 * 1024 }

/** A range in memory; replicas whose bytes are wrong are passed over. */
async function readAll(
  { range, replicas, sha256, signal }: Reading,
  first: OpenReplica | undefined,
): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.allocUnsafeSlow(range.end - range.start)
  const isAside = bytes.length >= asideBytes.least && bytes.length <= asideBytes.most
  let open = first
  let mismatch: CodedError | undefined
  for (;;) {
    const hash = sha256 === undefined || isAside ? undefined : createHash('sha256')
    let at = 0
    const sink: Sink = {
      room: () => bytes.subarray(at),
      take(count) {
        hash?.update(bytes.subarray(at, at + count))
        at += count
        return at < bytes.length
      },
    }
    while (at < bytes.length) {
      const rest = { start: range.start + at, end: range.end }
      const replica = open ?? (await replicas.open(rest).catch(noneLeft))
      open = undefined
      const problem = await problemOf(replica.receive(sink))
      replica.close()
      signal.throwIfAborted()
      if (at > 0) replicas.gaveBytes()
      if (at < bytes.length) replicas.failed(problem ?? endedEarly())
    }
    if (sha256 === undefined) return bytes
    mismatch = compare(hash ? hash.digest('hex') : await digestAside(bytes), sha256)
    if (!mismatch) return bytes
    replicas.failed(mismatch)
    replicas.rejectUsed()
  }
  function noneLeft(err: unknown): never {
    throw isCoded(err, 'no_replica') ? (mismatch ?? err) : err
  }
}

const digestAside = async (bytes: Buffer<ArrayBuffer>): Promise<string> =>
  Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex')
