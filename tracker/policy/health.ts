/** Damps what is seen of a device, so that one which comes and goes is not taken for a good one. */
import type { DeviceObservation } from './device.ts'

export interface Health {
  readonly state: DeviceObservation
  /** When it went away lately, in milliseconds of some clock. */
  readonly falls: readonly number[]
  /** Good looks in a row since. */
  readonly good: number
}

export const unknownHealth: Health = { state: 'unknown', falls: [], good: 0 }

/** Falls that are longer ago are forgiven. */
const memoryMs = 600_000
/** Good looks that are asked for at most before a device that fell gets files again. */
const mostLooks = 8

/**
 * What is to be made of the newest look. Bad news counts at once. A device that has gone away once is
 * good again at the first good look; after the second time within ten minutes it takes two in a row, then
 * four, then eight, and until then it is only read.
 */
export function nextHealth(
  before: Health,
  { seen, nowMs }: { readonly seen: DeviceObservation; readonly nowMs: number },
): Health {
  const falls = before.falls.filter(at => nowMs - at < memoryMs)
  if (seen === 'unreachable' || seen === 'unknown') {
    const fell = before.state === 'writeable' || before.state === 'readable'
    return {
      state: seen,
      falls: fell && seen === 'unreachable' ? [...falls, nowMs] : falls,
      good: 0,
    }
  }
  if (seen === 'readable') return { state: 'readable', falls, good: 0 }
  const good = before.good + 1
  const asked = falls.length < 2 ? 1 : Math.min(mostLooks, 2 ** (falls.length - 1))
  return { state: good >= asked ? 'writeable' : 'readable', falls, good }
}
