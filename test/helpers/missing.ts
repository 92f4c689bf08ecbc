/**
 * The `skip` option of a test that needs something which not every machine has: false when it is there,
 * else the text `needs …`. With CI=true it throws instead, since there everything must be installed.
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
