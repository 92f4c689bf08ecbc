/** The findings of `omg doctor`. */

/** `warning`: it works, but needs attention. `problem`: something does not work, or is unsafe. */
export type Level = 'ok' | 'warning' | 'problem'

export interface Finding {
  /** What was checked: `clock`, `node1`, `class photos web`. */
  readonly check: string
  readonly level: Level
  readonly text: string
  /** What to do about it; absent when the level is `ok`. */
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

/** Seconds of difference above which there is a warning; above 60, signed URLs stop working. */
const clockLimits = { warning: 5, problem: 60 }

/** Judges a clock that is `seconds` ahead of another one. The times had a resolution of one second. */
export function judgeClock(check: string, seconds: number, against: string): Finding {
  const apart = Math.abs(seconds)
  if (apart <= clockLimits.warning) return ok(check, `clock agrees with ${against}`)
  const text = `clock is ${Math.round(apart)} s ${seconds > 0 ? 'ahead of' : 'behind'} ${against}`
  const advice = 'run chrony or systemd-timesyncd there: URLs and receipts are signed with a time'
  return apart > clockLimits.problem ? problem(check, text, advice) : warning(check, text, advice)
}
