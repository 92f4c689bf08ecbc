/**
 * How often each API token may ask: so many requests a second, and as many at once after a rest of a
 * second (the generic cell rate algorithm of ITU-T I.371). Each tracker counts for itself.
 */

/** Milliseconds of requests that may come at once. */
const burstMs = 1_000

export class TokenRates {
  /** By token: when all that came would have come at its rate, in the time of `performance.now()`. */
  readonly #paidUntil = new Map<number, number>()

  /** Counts one request; false, and it does not count, where it is one too many. */
  admit({ id, rate }: { readonly id: number; readonly rate: number | null }): boolean {
    if (rate === null) return true
    const now = performance.now()
    const until = Math.max(this.#paidUntil.get(id) ?? now, now) + 1000 / rate
    if (until > now + burstMs) return false
    this.#paidUntil.set(id, until)
    return true
  }
}
