/** What can be put, made uniform: bytes in memory, or a stream that may be opened again or not. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import { CodedError } from '../common/errors.ts'

/**
 * Content to put: text (as UTF-8), bytes, a `Blob` or `File`, what `fetch` answered, any stream of
 * bytes, or the file at a path.
 */
export type PutBody =
  | string
  | Uint8Array
  | Blob
  | Response
  | Readable
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | { readonly file: string }

/** A body ready to be sent. */
export interface Source {
  /** Bytes that will come, where that is known beforehand. */
  readonly size: number | undefined
  /** All of it, where it is in memory. */
  readonly bytes: Uint8Array | undefined
  /** What the body itself says that it is. */
  readonly contentType?: string | undefined
  /** Whether `open` would begin at the first byte: always, or until it was called once. */
  canOpen(): boolean
  /** The bytes from the start. Destroying the stream ends the source. */
  open(): Readable
  /** Ends a stream that nobody will open. */
  discard(): void
}

const pieceBytes = 256 * 1024

/**
 * Makes a source of `body`, which `size` says the length of where the caller knows it. Throws
 * size_mismatch when the body is known to have another, bad_args when it is nothing that can be put, or
 * the size is none.
 */
export async function createSource(body: PutBody, size?: number): Promise<Source> {
  const source = await sourceOf(body, size)
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) {
    source.discard()
    throw new CodedError('bad_args', `not a number of bytes: ${size}`)
  }
  if (size !== undefined && source.size !== size) {
    source.discard()
    throw new CodedError('size_mismatch', `the body has ${source.size} bytes, not ${size}`)
  }
  return source
}

async function sourceOf(body: PutBody, size: number | undefined): Promise<Source> {
  if (typeof body === 'string') return fromBytes(Buffer.from(body))
  if (body instanceof Uint8Array) return fromBytes(body)
  if (body instanceof Blob) {
    const open = (): Readable => Readable.fromWeb(body.stream() as NodeReadableStream)
    return { ...again(body.size, open), contentType: body.type || undefined }
  }
  if (body instanceof Response) return fromResponse(body, size)
  if (body instanceof Readable) return once(size, body)
  if (body instanceof ReadableStream) {
    return once(size, Readable.fromWeb(body as NodeReadableStream))
  }
  if (typeof body === 'object' && body !== null) {
    if (Symbol.asyncIterator in body) return once(size, Readable.from(body))
    if ('file' in body) {
      const found = await stat(body.file)
      const open = (): Readable => createReadStream(body.file, { highWaterMark: pieceBytes })
      // A pipe or device can be read once and does not know its length.
      return found.isFile() ? again(found.size, open) : once(size, open())
    }
  }
  throw new CodedError('bad_args', 'a body is text, bytes, a stream of bytes or { file }')
}

const fromBytes = (bytes: Uint8Array): Source => ({
  size: bytes.length,
  bytes,
  canOpen: () => true,
  open: () => Readable.from(piecesOf(bytes)),
  discard() {},
})

/** Throws bad_args for an answer that is an error: its text is hardly what was to be stored. */
function fromResponse({ ok, status, headers, body }: Response, size: number | undefined): Source {
  if (!ok) throw new CodedError('bad_args', `the body is an answer of status ${status}`)
  // Of an encoded body the length is another one than that of the bytes that come out of it.
  const length = headers.has('content-encoding') ? null : headers.get('content-length')
  const source =
    body === null
      ? fromBytes(new Uint8Array())
      : once(
          size ?? (length === null ? undefined : Number(length)),
          Readable.fromWeb(body as NodeReadableStream),
        )
  return { ...source, contentType: headers.get('content-type') ?? undefined }
}

const again = (size: number, open: () => Readable): Source => ({
  size,
  bytes: undefined,
  canOpen: () => true,
  open,
  discard() {},
})

function once(size: number | undefined, stream: Readable): Source {
  let opened = false
  // It may break before it is read; whoever reads it then is told.
  stream.on('error', () => {})
  return {
    size,
    bytes: undefined,
    canOpen: () => !opened,
    open() {
      opened = true
      return stream
    },
    discard: () => void stream.destroy(),
  }
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

/** A chunk of a stream as bytes; text is taken as UTF-8. Throws bad_args for anything else. */
export function toBytes(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  throw new CodedError('bad_args', 'the stream holds something that is neither bytes nor text')
}
