/** Several ranges of one file in one body: multipart/byteranges (RFC 9110 §14.6). */
import { randomBytes } from 'node:crypto'
import { formatContentRange, type Span } from '../http/range.ts'

export interface Multipart {
  /** Value of the Content-Type field. */
  readonly contentType: string
  /** Of the whole body. */
  readonly length: number
  /** What stands before each part's bytes. */
  readonly heads: readonly Buffer[]
  readonly tail: Buffer
}

/** Lays the body out; `partType` is the Content-Type of the file, if it has one. */
export function layOut(
  spans: readonly Span[],
  size: number,
  partType: string | undefined,
): Multipart {
  const boundary = randomBytes(16).toString('hex')
  const heads = spans.map(span => {
    const lines = [
      `\r\n--${boundary}`,
      ...(partType === undefined ? [] : [`Content-Type: ${partType}`]),
      `Content-Range: ${formatContentRange({ ...span, kind: 'span', size })}`,
    ]
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  })
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  const length = spans.reduce(
    (sum, { first, last }, i) => sum + last - first + 1 + (heads[i]?.length ?? 0),
    tail.length,
  )
  return { contentType: `multipart/byteranges; boundary=${boundary}`, length, heads, tail }
}
