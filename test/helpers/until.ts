import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds after which a condition is taken never to come; machines may be slow. */
const patienceMs = 60_000

/**
 * Asks until `condition` gives something else than undefined or false, and returns that. Throws an
 * Error that names `what` after a minute, with the last error of the condition as cause.
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
