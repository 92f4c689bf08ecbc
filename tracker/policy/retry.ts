import type { Random } from './placement.ts'

/** Seconds between tries, by how often it failed: MogileFS's ladder. */
const ladder = [15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400]

/** Seconds to wait where only bytes of an earlier try, soon to be removed, are in the way: nobody's fault. */
export const clearingSeconds = 15

/** Seconds to wait where another tracker may be able to do what this one cannot. */
export const handOverSeconds = 5

/** Seconds to wait after the `attempts`-th try failed (counted from 1), with a fifth of jitter. */
export function retrySeconds(attempts: number, random: Random): number {
  const base = ladder[Math.min(Math.max(attempts, 1), ladder.length) - 1] ?? 86400
  return Math.trunc(base * (0.8 + 0.4 * random()))
}
