/** What `omg doctor` finds. */

/** `warning`: it works, and should be looked at. `problem`: something does not work, or is unsafe. */
export type Level = 'ok' | 'warning' | 'problem'

export interface Finding {
  /** What was looked at: `clock`, `node1`, `class photos web`. */
  readonly check: string
  readonly level: Level
  readonly text: string
  /** What to do; there unless all is well. */
  readonly advice?: string
}

export const ok = (check: string, text: string): Finding => ({ check, level: 'ok', text })

export const warning = (check: string, text: string, advice: string): Finding => ({
  check,
  level: 'warning',
  text,
  advice,
})

export const problem = (check: string, text: string, advice: string): Finding => ({
  check,
  level: 'problem',
  text,
  advice,
})

/** Seconds apart at which clocks are told, and at which signed URLs stop to work soon. */
const clockLimits = { warning: 5, problem: 60 }

/** Judges how far a clock is ahead of another, in seconds. Both were read to the second. */
export function judgeClock(check: string, seconds: number, against: string): Finding {
  const apart = Math.abs(seconds)
  if (apart <= clockLimits.warning) return ok(check, `clock agrees with ${against}`)
  const text = `clock is ${Math.round(apart)} s ${seconds > 0 ? 'ahead of' : 'behind'} ${against}`
  const advice = 'run chrony or systemd-timesyncd there: URLs and receipts are signed with a time'
  return apart > clockLimits.problem ? problem(check, text, advice) : warning(check, text, advice)
}
