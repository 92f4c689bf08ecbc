/** Byte ranges as RFC 9110 §14 has them: reading, resolving against a size, writing. */

/** One range that was asked for: from an offset on, or the last bytes. */
export type RangeSpec =
  | { readonly kind: 'from'; readonly first: number; readonly last: number | undefined }
  | { readonly kind: 'suffix'; readonly length: number }

/** A stretch of a file; both ends are inside. */
export interface Span {
  readonly first: number
  readonly last: number
}

/** What a Content-Range says: which bytes of how many, or that there are none of them. */
export type ContentRange =
  | (Span & { readonly kind: 'span'; readonly size: number })
  | { readonly kind: 'none'; readonly size: number }

/** Offsets no file reaches: they clip like any other that lies beyond the end. */
const clamp = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER)

/** The ranges of a Range value; undefined when it is to be ignored: another unit, inverted, junk. */
export function parseRange(value: string): RangeSpec[] | undefined {
  const set = /^bytes=(.*)$/i.exec(value)?.[1]
  if (set === undefined) return undefined
  const specs: RangeSpec[] = []
  for (const part of set.split(',')) {
    const text = part.trim()
    if (text === '') continue // empty list members are allowed (RFC 9110 §5.6.1)
    const [, first, last] = /^(\d*)-(\d*)$/.exec(text) ?? []
    if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
    if (first === '') {
      specs.push({ kind: 'suffix', length: clamp(last) })
      continue
    }
    const spec = {
      kind: 'from',
      first: clamp(first),
      last: last === '' ? undefined : clamp(last),
    } as const
    if (spec.last !== undefined && spec.last < spec.first) return undefined
    specs.push(spec)
  }
  return specs.length > 0 ? specs : undefined
}

/** The bytes of a file of `size` that `spec` means; undefined when it has none of them. */
export function resolveRange(spec: RangeSpec, size: number): Span | undefined {
  if (spec.kind === 'suffix') {
    if (spec.length === 0 || size === 0) return undefined
    return { first: Math.max(0, size - spec.length), last: size - 1 }
  }
  if (spec.first >= size) return undefined
  return { first: spec.first, last: Math.min(spec.last ?? size - 1, size - 1) }
}

/** The value of a Range field that asks for `spec`. */
export function formatRange(spec: RangeSpec): string {
  if (spec.kind === 'suffix') return `bytes=-${spec.length}`
  return `bytes=${spec.first}-${spec.last ?? ''}`
}

/** Reads a Content-Range; undefined when it is malformed or leaves the complete size open. */
export function parseContentRange(value: string): ContentRange | undefined {
  const [, first, last, total] =
    /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15})$/i.exec(value) ?? []
  if (total === undefined) return undefined
  const size = Number(total)
  if (first === undefined || last === undefined) return { kind: 'none', size }
  const span = { kind: 'span', first: Number(first), last: Number(last), size } as const
  return span.first <= span.last && span.last < size ? span : undefined
}

/** The value of a Content-Range field. */
export function formatContentRange(range: ContentRange): string {
  return range.kind === 'none'
    ? `bytes */${range.size}`
    : `bytes ${range.first}-${range.last}/${range.size}`
}

/** What of a file of a known size is to be sent. */
export type RangePlan =
  | { readonly kind: 'whole' }
  | { readonly kind: 'none' }
  | { readonly kind: 'parts'; readonly spans: readonly Span[] }

/**
 * What `specs` mean for a file of `size`. Those that together are longer than the file are ignored, as
 * only an attack asks for them (RFC 9110 §14.2).
 */
export function planRanges(specs: readonly RangeSpec[] | undefined, size: number): RangePlan {
  if (!specs) return { kind: 'whole' }
  const spans = specs.map(spec => resolveRange(spec, size)).filter(span => span !== undefined)
  if (spans.length === 0) return { kind: 'none' }
  const total = spans.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  return total > size ? { kind: 'whole' } : { kind: 'parts', spans }
}
