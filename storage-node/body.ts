/** The body of an upload: read with patience that has an end, and written in large pieces. */
import type { FileHandle } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { CodedError } from '../common/errors.ts'

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

/**
 * The chunks of a request's body. Throws request_timeout when the client stalls or dribbles (time
 * that we need for writing does not count), bad_request when the body ends early. Stopping midway
 * leaves the connection usable for an answer.
 */
export async function* readBody(
  raw: IncomingMessage,
  { gapMs, graceMs, minBytesPerSecond }: Patience = defaultPatience,
): AsyncGenerator<Buffer, void, undefined> {
  const chunks: AsyncIterator<Buffer> = raw.iterator({ destroyOnReturn: false })
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

const tooSlow = (): CodedError => new CodedError('request_timeout', 'the body came too slowly')

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

/**
 * Writes `chunks` to `handle` in pieces of at least `pieceSize()` bytes, receiving the next while
 * one is written; holds at most two. Calls `onChunk` with each chunk in order. Returns the size.
 */
export async function writeChunks(
  handle: FileHandle,
  chunks: AsyncIterable<Buffer>,
  pieceSize: () => number,
  onChunk: (chunk: Buffer) => void,
): Promise<number> {
  let size = 0
  let piece: Buffer[] = []
  let held = 0
  let writing = Promise.resolve()
  try {
    for await (const chunk of chunks) {
      onChunk(chunk)
      piece.push(chunk)
      held += chunk.length
      size += chunk.length
      if (held < pieceSize() && piece.length < maxChunks) continue
      await writing
      writing = writePiece(handle, piece, held)
      // It is awaited before the next piece; until then a failure is not unhandled.
      writing.catch(() => {})
      piece = []
      held = 0
    }
    await writing
    if (held > 0) await writePiece(handle, piece, held)
  } finally {
    // The caller closes the file, which must not happen under a write.
    await writing.catch(() => {})
  }
  return size
}

async function writePiece(handle: FileHandle, piece: Buffer[], size: number): Promise<void> {
  const { bytesWritten } = await handle.writev(piece)
  if (bytesWritten === size) return
  // A disk that fills up takes a part first; what is left brings out the error.
  let rest = Buffer.concat(piece).subarray(bytesWritten)
  while (rest.length > 0) rest = rest.subarray((await handle.write(rest)).bytesWritten)
}
