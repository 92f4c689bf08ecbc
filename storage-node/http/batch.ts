/**
 * Copies and deletions of many files on one device in one request: a line for each, answered by a line
 * as soon as that file is as it should be, on disk. Each line is a request of its own, with the right
 * to it, and with what a single COPY or DELETE promises; together they save the requests, and share
 * the flushes of their directories.
 */
import { PassThrough, type Readable } from 'node:stream'
import { CodedError, isCoded } from '../../common/errors.ts'
import { readBody } from '../writing/body.ts'

/** What is asked for in lines, by the name below a device. */
export const batchNames: ReadonlySet<string> = new Set(['copies', 'deletions'])

/** One line. */
export interface BatchLine {
  /** Of the file, with its token behind a `?`, as in the request line of a single request. */
  readonly path: string
  /** Of a copy: the URL of the replica to copy from. */
  readonly source: string | undefined
  /** Bytes that a copy must have; undefined when not known. */
  readonly size: number | undefined
  /** SHA-256 that a copy must have; undefined when not known. */
  readonly sha256: Buffer | undefined
}

const maxBytes = 1024 * 1024
const maxLines = 1_000

/** Lines of one request that are worked on at once. */
const parallel = 32

/** Reads all lines of a request. Throws bad_request or payload_too_large, and what `readBody` throws. */
export async function readBatch(raw: Readable): Promise<BatchLine[]> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of readBody(raw)) {
    size += chunk.length
    if (size > maxBytes) throw new CodedError('payload_too_large', `more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  const lines = Buffer.concat(chunks).toString('utf8').split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (lines.length > maxLines) {
    throw new CodedError('payload_too_large', `more than ${maxLines} lines`)
  }
  return lines.map(parseLine)
}

function parseLine(text: string, at: number): BatchLine {
  const bad = (what: string): CodedError => new CodedError('bad_request', `line ${at}: ${what}`)
  let line: unknown
  try {
    line = JSON.parse(text)
  } catch {
    throw bad('not JSON')
  }
  const { path, source, size, sha256 } = (line ?? {}) as Partial<Record<keyof BatchLine, unknown>>
  if (typeof path !== 'string') throw bad('path is not a text')
  if (source !== undefined && typeof source !== 'string') throw bad('source is not a text')
  if (
    size !== undefined &&
    !(typeof size === 'number' && Number.isSafeInteger(size) && size >= 0)
  ) {
    throw bad('size is not a number of bytes')
  }
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256))) {
    throw bad('sha256 is not 64 digits of hex')
  }
  const digest = sha256 === undefined ? undefined : Buffer.from(sha256, 'hex')
  return { path, source, size, sha256: digest }
}

/**
 * The answer: for each line, in the order in which they are done, `at` (its number, from 0) with what
 * `handle` returned, or with `code` and `message` of what it threw; `{"end":true}` behind the last.
 * When nobody reads it any more, no further line is begun.
 */
export function answerBatch(
  lines: readonly BatchLine[],
  handle: (line: BatchLine) => Promise<object>,
  onFailure: (err: unknown) => void,
): Readable {
  const answer = new PassThrough()
  let text = ''
  const flush = (): void => {
    if (!answer.destroyed) answer.write(text)
    text = ''
  }
  const tell = (line: object): void => {
    // What is done in one turn of the event loop is told in one piece.
    if (text === '') setImmediate(flush)
    text += `${JSON.stringify(line)}\n`
  }
  const queue = lines.entries()
  const lane = async (): Promise<void> => {
    for (const [at, line] of queue) {
      if (answer.destroyed) return
      try {
        tell({ at, ...(await handle(line)) })
      } catch (err) {
        if (!isCoded(err)) onFailure(err)
        const { code, message } = isCoded(err) ? err : new CodedError('failure', 'internal error')
        tell({ at, code, message })
      }
    }
  }
  const lanes = Array.from({ length: Math.min(parallel, lines.length) }, lane)
  void Promise.all(lanes).then(() => {
    tell({ end: true })
    setImmediate(() => answer.end())
  })
  return answer
}
