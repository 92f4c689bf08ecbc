/**
 * Copies and deletions of many files on one device in one request, as our own storage nodes take them:
 * what waits while requests are under way goes out with the next. Nothing ever waits for more to come.
 */
import type { Dispatcher } from 'undici'
import { CodedError, isErrorCode } from '../common/errors.ts'
import { failure, isSuccess, parse, unreachable, type Target } from './storage-http.ts'

/** Sends a request; throws when there is no answer. */
export type Send = (
  target: Target,
  method: Dispatcher.HttpMethod,
  options?: Partial<Dispatcher.RequestOptions> & { readonly signal?: AbortSignal | undefined },
) => Promise<Dispatcher.ResponseData>

/** What is asked of one file. */
export interface Piece {
  /** Of the file, with its token. */
  readonly path: string
  /** Of a copy: where it comes from. */
  readonly source?: string
  /** Bytes that a copy must have. */
  readonly size?: number
  /** SHA-256 that a copy must have, lower-case hex. */
  readonly sha256?: string | undefined
}

/** What a node says of a file. */
export interface PieceAnswer {
  /** Of a copy: what was stored, lower-case hex. */
  readonly sha256?: string
}

/**
 * Has `piece` done together with what else is asked at `url`; each has its own answer. Throws what a
 * single request would, and the signal's reason.
 */
export type Together = (
  url: string,
  piece: Piece,
  signal: AbortSignal | undefined,
) => Promise<PieceAnswer>

/** Files in one request, and requests to one device at once. */
const mostPieces = 64
const mostRequests = 2

/** A copy runs at this many bytes a second at least. */
const copyRate = 4 * 1024 * 1024

/** Milliseconds that a node is given to copy so many bytes. */
export const patienceFor = (bytes: number): number => 30_000 + (bytes / copyRate) * 1000

interface Waiting {
  readonly piece: Piece
  readonly resolve: (answer: PieceAnswer) => void
  readonly reject: (err: unknown) => void
}

/** What is asked at one place. */
interface Line {
  /** As it was named last: what it is signed with holds for a while only. */
  url: string
  waiting: Waiting[]
  underWay: number
}

/** Creates one over `send`. */
export function createTogether(send: Send): Together {
  const lines = new Map<string, Line>()

  function flush(name: string, line: Line): void {
    while (line.underWay < mostRequests && line.waiting.length > 0) {
      const asked = line.waiting.splice(0, mostPieces)
      line.underWay++
      void ask(send, line.url, asked).finally(() => {
        line.underWay--
        if (line.waiting.length > 0) flush(name, line)
        else if (line.underWay === 0) lines.delete(name)
      })
    }
  }

  return (url, piece, signal) =>
    new Promise((resolve, reject) => {
      const [name = url] = url.split('?')
      let line = lines.get(name)
      if (!line) {
        line = { url, waiting: [], underWay: 0 }
        lines.set(name, line)
      }
      line.url = url
      const found = line
      const leave = (): void => {
        found.waiting = found.waiting.filter(other => other !== one)
        reject(signal?.reason as Error)
      }
      const settled = (): void => signal?.removeEventListener('abort', leave)
      const one: Waiting = {
        piece,
        resolve: answer => {
          settled()
          resolve(answer)
        },
        reject: err => {
          settled()
          reject(err as Error)
        },
      }
      if (signal?.aborted) {
        leave()
        return
      }
      signal?.addEventListener('abort', leave, { once: true })
      found.waiting.push(one)
      // All that this turn of the event loop brings goes out together.
      if (found.waiting.length === 1) setImmediate(() => flush(name, found))
    })
}

/** Never rejects: everybody who asked is told. */
async function ask(send: Send, url: string, asked: readonly Waiting[]): Promise<void> {
  const open = new Set(asked)
  const target = parse(url)
  try {
    const patience = patienceFor(asked.reduce((sum, { piece }) => sum + (piece.size ?? 0), 0))
    const answer = await send(target, 'POST', {
      body: asked.map(({ piece }) => `${JSON.stringify(piece)}\n`).join(''),
      headersTimeout: patience,
      bodyTimeout: patience,
    })
    if (!isSuccess(answer)) throw await failure(target, answer)
    for await (const text of linesOf(answer.body)) {
      const { at, end, code, message, ...told } = JSON.parse(text) as PieceAnswer & {
        readonly at?: number
        readonly end?: true
        readonly code?: unknown
        readonly message?: unknown
      }
      // It is read to its end, so that the connection can be used again.
      if (end) continue
      const one = asked[at ?? -1]
      if (!one || !open.delete(one)) throw new Error('an answer to nothing')
      if (code === undefined) one.resolve(told)
      else one.reject(refusal(target, code, message))
    }
    throw new Error('the answer broke off')
  } catch (err) {
    const failed = err instanceof CodedError ? err : unreachable(target, err)
    for (const one of open) one.reject(failed)
  }
}

function refusal({ who }: Target, code: unknown, message: unknown): CodedError {
  const known = isErrorCode(code) ? code : 'storage_unreachable'
  return new CodedError(known, `${who} answered: ${String(message)}`)
}

/** Complete lines of a text, without their ends. */
export async function* linesOf(
  body: AsyncIterable<Buffer>,
): AsyncGenerator<string, void, undefined> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
