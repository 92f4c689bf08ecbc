/**
 * What a storage node's answer is worth: whether it is the file, or the part of it, that was asked
 * for. Pure decisions over response heads; everything that does not fit exactly is a failed attempt.
 */
import { tokensOf, valueOf, valuesOf } from '../http/headers.ts'
import {
  formatRange,
  parseContentRange,
  resolveRange,
  type ContentRange,
  type RangeSpec,
  type Span,
} from '../http/range.ts'
import type { ResponseHead } from '../http/response-parser.ts'

/** What a client wants of a file. */
export interface Wanted {
  readonly range: RangeSpec | undefined
  /** The complete length, as far as the application told it. */
  readonly expectedSize: number | undefined
}

export type FirstAnswer =
  /** The whole file; its size is unknown when the node frames it otherwise than by length. */
  | { readonly kind: 'whole'; readonly size: number | undefined }
  | (Span & { readonly kind: 'part'; readonly size: number })
  /** The file has no such bytes; its size is unknown when the node does not say. */
  | { readonly kind: 'unsatisfiable'; readonly size: number | undefined }
  | Failed

export interface Failed {
  readonly kind: 'failed'
  /** One of a few constant words, for the log. */
  readonly why: string
}

const failed = (why: string): Failed => ({ kind: 'failed', why })

const isCoded = (head: ResponseHead): boolean =>
  tokensOf(head.fields, 'content-encoding').some(coding => coding !== 'identity')

const contentRangeOf = (head: ResponseHead): ContentRange | undefined =>
  parseContentRange(valueOf(head.fields, 'content-range') ?? '')

/** The request that asks a node for what is wanted. */
export function rangeField(wanted: RangeSpec | undefined): string {
  return wanted ? `Range: ${formatRange(wanted)}\r\n` : ''
}

/** Judges the answer to a first request, before anything was sent to the client. */
export function judgeFirst(head: ResponseHead, { range, expectedSize }: Wanted): FirstAnswer {
  if (isCoded(head)) return failed('coded')
  switch (head.status) {
    case 200:
    case 201:
    case 202:
    case 203:
      if (expectedSize !== undefined && head.length !== expectedSize) return failed('size')
      return { kind: 'whole', size: head.length }
    case 206:
      return range ? judgePart(head, range, expectedSize) : failed('status')
    case 416:
      return range ? judgeUnsatisfiable(head, range, expectedSize) : failed('status')
    default:
      return failed('status')
  }
}

function judgePart(
  head: ResponseHead,
  range: RangeSpec,
  expectedSize: number | undefined,
): FirstAnswer {
  const got = contentRangeOf(head)
  if (got?.kind !== 'span') return failed('range')
  if (expectedSize !== undefined && got.size !== expectedSize) return failed('size')
  const asked = resolveRange(range, got.size)
  if (asked?.first !== got.first || asked.last !== got.last) return failed('range')
  if (head.length !== undefined && head.length !== got.last - got.first + 1) return failed('size')
  return { ...got, kind: 'part' }
}

function judgeUnsatisfiable(
  head: ResponseHead,
  range: RangeSpec,
  expectedSize: number | undefined,
): FirstAnswer {
  const got = contentRangeOf(head)
  if (got?.kind === 'span') return failed('range')
  const size = expectedSize ?? got?.size
  if (size !== undefined && resolveRange(range, size)) return failed('range')
  return { kind: 'unsatisfiable', size }
}

/** What is missing of a body of which the client already has a part. */
export interface Missing extends Span {
  /** Complete length of the file. */
  readonly size: number
}

export type ResumeAnswer =
  /** The body goes on after `skip` bytes of this answer. */
  { readonly kind: 'resume'; readonly skip: number } | Failed

const digests = ['content-md5', 'digest', 'repr-digest'] as const

/** Digests of the whole file, whichever part of it an answer has. */
export const wholeDigests = ['repr-digest'] as const

/**
 * Judges an answer that is to continue what `before` began, if something did. ETag and Last-Modified
 * differ between good replicas; the complete length must agree, and those of the digests that are
 * `compared` must where both sides have them.
 */
export function judgeResume(
  head: ResponseHead,
  missing: Missing,
  before: ResponseHead | undefined,
  compared: readonly string[] = digests,
): ResumeAnswer {
  if (isCoded(head)) return failed('coded')
  for (const name of compared) {
    const [mine] = valuesOf(before?.fields ?? [], name)
    const [other] = valuesOf(head.fields, name)
    if (mine !== undefined && other !== undefined && mine !== other) return failed('digest')
  }
  if (head.status === 200) {
    return head.length === missing.size ? { kind: 'resume', skip: missing.first } : failed('size')
  }
  if (head.status !== 206) return failed('status')
  const got = contentRangeOf(head)
  if (got?.kind !== 'span' || got.first !== missing.first || got.last !== missing.last) {
    return failed('range')
  }
  if (got.size !== missing.size) return failed('size')
  if (head.length !== undefined && head.length !== got.last - got.first + 1) return failed('size')
  return { kind: 'resume', skip: 0 }
}
