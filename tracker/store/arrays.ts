/**
 * Arrays as Postgres reads and writes them in text. `pg` does it for any array of anything; these are
 * for flat ones of numbers and of bytes, which batches are made of, at a fraction of the cost.
 */

/** A parameter for `$n::bigint[]` and the like. */
export function numberArray(values: readonly (number | null)[]): string {
  return `{${values.map(value => value ?? 'null').join(',')}}`
}

/** A parameter for `$n::bytea[]`. */
export function byteaArray(values: readonly (Buffer | null | undefined)[]): string {
  return `{${values.map(value => (value ? `"\\\\x${value.toString('hex')}"` : 'null')).join(',')}}`
}

/** Reads an array of numbers without nulls, as `{1,2}`. */
export function parseNumberArray(text: string): number[] {
  return text === '{}' ? [] : text.slice(1, -1).split(',').map(Number)
}
