/** The body of an upload: read with patience that has an end, and written in large pieces. */
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { CodedError } from '../../common/errors.ts'
import type { Algorithm, Digests } from '../digests/digests.ts'
import type { Disk } from '../disk/disk.ts'

export interface Patience {
  /** Longest wait for the next byte, in milliseconds. */
  readonly gapMs: number
  /** Milliseconds of waiting after which the pace counts. */
  readonly graceMs: number
  readonly minBytesPerSecond: number
}

export const defaultPatience: Patience = { gapMs: 30_000, graceMs: 30_000, minBytesPerSecond: 1024 }

/** A chunk as small as one byte costs an object, so their number is bounded as well. */
const maxChunks = 512

/** Bytes of a body, some of them at a time: as they come, or all there already. */
export type Body = (AsyncIterable<Buffer> | Iterable<Buffer>) & {
  /** Takes back a chunk that nobody reads any more; called for each. */
  readonly release?: (chunk: Buffer) => void
}

/**
 * The chunks of a request's body. Throws request_timeout when the client stalls or dribbles (time
 * that we need for writing does not count), bad_request when the body ends early. Stopping midway
 * leaves the connection usable for an answer.
 */
export function readBody(
  raw: Readable,
  patience: Patience = defaultPatience,
): AsyncGenerator<Buffer, void, undefined> {
  return patiently(raw.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>, patience)
}

/** The same for chunks that come from elsewhere; an error of theirs is a body that ended early. */
export async function* patiently(
  chunks: AsyncIterator<Buffer>,
  { gapMs, graceMs, minBytesPerSecond }: Patience = defaultPatience,
): AsyncGenerator<Buffer, void, undefined> {
  let waitedMs = 0
  let received = 0
  try {
    for (;;) {
      const askedAt = performance.now()
      const { done, value } = await within(gapMs, chunks.next())
      if (done) return
      waitedMs += performance.now() - askedAt
      received += value.length
      if (waitedMs > graceMs && received * 1000 < waitedMs * minBytesPerSecond) throw tooSlow()
      yield value
    }
  } finally {
    void chunks.return?.().catch(() => {})
  }
}

/** What a client that stalls or dribbles is told. */
export const tooSlow = (): CodedError =>
  new CodedError('request_timeout', 'the body came too slowly')

// A promise of its own for each wait: racing with one that lives long would grow with every chunk.
function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooSlow()), ms)
    promise.then(
      value => {
        clearTimeout(timer)
        resolve(value)
      },
      (cause: unknown) => {
        clearTimeout(timer)
        reject(new CodedError('bad_request', 'the body ended early', { cause }))
      },
    )
  })
}

/** SHA-256, and what else was asked for. */
export type StoredDigests = Digests & { readonly sha256: Buffer }

export interface Written {
  readonly size: number
  readonly digests: StoredDigests
}

/** What writing these bytes comes to. */
export function digestWhole(bytes: Buffer, algorithms: readonly Algorithm[]): Written {
  const digest = (algorithm: Algorithm): Buffer => createHash(algorithm).update(bytes).digest()
  const digests: Digests = Object.fromEntries(
    algorithms.map(algorithm => [algorithm, digest(algorithm)] as const),
  )
  return { size: bytes.length, digests: { ...digests, sha256: digests.sha256 ?? digest('sha256') } }
}

export interface WritePiecesOptions {
  /** Bytes that should come, where that is known: the last are not waited behind. */
  readonly size?: number | undefined
  /** Where the first byte goes; 0. */
  readonly position?: number
  /** Bytes to collect before a write; asked again for every chunk. */
  readonly pieceSize: () => number
  /** Told of each chunk in order, while it is written. */
  readonly onChunk?: (chunk: Buffer) => void
  /** Told how many bytes stand in the file, in order; also those of a body that ends early. */
  readonly onWritten?: (size: number) => void
}

/**
 * Writes `body` to an open file in pieces of at least `pieceSize()` bytes, receiving the next while
 * one is written; holds at most two. Returns how many bytes came. Throws size_mismatch instead of writing
 * more than there should be.
 */
export async function writePieces(
  disk: Disk,
  fd: number,
  body: Body,
  { size: wanted, position = 0, pieceSize, onChunk, onWritten }: WritePiecesOptions,
): Promise<number> {
  let size = 0
  let piece: Buffer[] = []
  let held = 0
  let writing: Promise<void> | undefined
  const flush = (): Promise<void> => {
    const chunks = piece
    const end = size
    // A write that was given up may still read them then: it fills a file that gets no name.
    const written = disk
      .write(fd, chunks, position + end - held)
      .then(() => onWritten?.(end))
      .finally(() => release(chunks))
    // It is awaited before the next piece; until then a failure is not unhandled.
    written.catch(() => {})
    piece = []
    held = 0
    return written
  }
  const release = (chunks: readonly Buffer[]): void => {
    if (body.release) for (const chunk of chunks) body.release(chunk)
  }
  try {
    for await (const chunk of body) {
      piece.push(chunk)
      held += chunk.length
      size += chunk.length
      if (size > (wanted ?? size)) {
        throw new CodedError('size_mismatch', `more than ${wanted} bytes came`)
      }
      if (held >= pieceSize() || piece.length >= maxChunks || size === wanted) {
        await writing
        writing = flush()
      }
      // It is released in a later turn at the earliest.
      onChunk?.(chunk)
    }
    await writing
    if (held > 0) await flush()
  } catch (err) {
    // Whoever keeps count of what has come gets all of it.
    if (onWritten && size <= (wanted ?? size)) {
      await writing?.catch(() => {})
      await flush().catch(() => {})
    }
    throw err
  } finally {
    // The caller closes the file, which must not happen under a write.
    await writing?.catch(() => {})
    release(piece)
  }
  return size
}

export interface WriteBodyOptions extends Omit<WritePiecesOptions, 'onChunk'> {
  /** Digests to take beside SHA-256. */
  readonly algorithms: readonly Algorithm[]
}

/** The same with the digests of what came. */
export async function writeBody(
  disk: Disk,
  fd: number,
  body: Body,
  { algorithms, ...options }: WriteBodyOptions,
): Promise<Written> {
  const sha256 = createHash('sha256')
  const others = algorithms
    .filter(algorithm => algorithm !== 'sha256')
    .map(algorithm => ({ algorithm, hash: createHash(algorithm) }))
  const onChunk = (chunk: Buffer): void => {
    sha256.update(chunk)
    for (const { hash } of others) hash.update(chunk)
  }
  const size = await writePieces(disk, fd, body, { ...options, onChunk })
  const digests = Object.fromEntries(
    others.map(({ algorithm, hash }) => [algorithm, hash.digest()] as const),
  )
  return { size, digests: { ...digests, sha256: sha256.digest() } }
}
