/**
 * The value of a test's `skip` for something that not every machine has: false where it is there,
 * else the words `needs …`. With CI=true everything has to be there, and what is not throws.
 */
export function missing(what: string, isThere: () => unknown): string | false {
  let why: unknown
  try {
    if (isThere() !== false) return false
  } catch (err) {
    why = err
  }
  if (process.env['CI'] === 'true') throw new Error(`CI needs ${what}`, { cause: why })
  return `needs ${what}`
}
