import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds to wait by default: long, since machines may be slow. */
const patienceMs = 60_000

/**
 * Calls `condition` until it returns something other than undefined or false, and returns that. When that
 * takes too long, throws an Error that names `what`, with the last error of `condition` as its cause.
 */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = patienceMs,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value !== undefined && value !== false) return value
      cause = undefined
    } catch (err) {
      cause = err
    }
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`, { cause })
    await sleep(50)
  }
}
