/** The Range header (RFC 9110 section 14), as far as a store of whole files needs it. */

/** Offsets of the first and the last byte. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

const maxParts = 16

/**
 * What to send of `size` bytes: one part; `unsatisfiable` (416); or undefined for the whole, which
 * is the answer to a header that is malformed, in another unit, or asks for several parts.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const list = /^bytes=(.*)$/i.exec(header ?? '')?.[1]
  if (list === undefined) return undefined
  const parts = list.split(',').map(part => /^[ \t]*(\d*)-(\d*)[ \t]*$/.exec(part))
  if (parts.length > maxParts) return undefined
  const ranges: ByteRange[] = []
  for (const part of parts) {
    const [, first = '', last = ''] = part ?? []
    if (first === '' && last === '') return undefined
    if (first === '') {
      // The last N bytes.
      const start = Math.max(0, size - Number(last))
      if (start < size) ranges.push({ first: start, last: size - 1 })
      continue
    }
    if (last !== '' && Number(last) < Number(first)) return undefined
    if (Number(first) >= size) continue
    const end = last === '' ? Infinity : Number(last)
    ranges.push({ first: Number(first), last: Math.min(end, size - 1) })
  }
  if (ranges.length === 0) return 'unsatisfiable'
  return parts.length === 1 ? ranges[0] : undefined
}
