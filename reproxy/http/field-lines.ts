/** Field lines as they stand in the head of a message (RFC 9112 §5). */
import type { Field } from './headers.ts'

/** The fields of well-formed lines from `at` to the end of `text`, with line ends between them only. */
export function splitFields(text: string, at: number): Field[] {
  const fields: Field[] = []
  while (at < text.length) {
    // Of one character, because that is found several times as fast as two.
    const lf = text.indexOf('\n', at)
    const end = lf === -1 ? text.length : lf - 1
    const colon = text.indexOf(':', at)
    fields.push([text.slice(at, colon), trimBlanks(text, colon + 1, end)])
    at = end + 2
  }
  return fields
}

/** Not `trim()`, which takes more than blanks away, and not a pattern, which may take quadratic time. */
export function trimBlanks(text: string, from: number, to: number): string {
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09
