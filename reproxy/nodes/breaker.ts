/**
 * Remembers of one peer whether it works. So many faults in a row open the breaker; the peer is then
 * asked only when nobody else is left, until its rest is over and one request tries it again.
 */

export interface BreakerOptions {
  readonly failures: number
  readonly openMs: number
}

/** `half-open`: its rest is over, and nothing has told yet whether it works again. */
export type BreakerState = 'closed' | 'half-open' | 'open'

export class Breaker {
  readonly #options: BreakerOptions
  #faults = 0
  #openUntil = 0
  #probing = false

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    if (this.#openUntil === 0) return 'closed'
    return performance.now() < this.#openUntil ? 'open' : 'half-open'
  }

  /** False when others are to be asked first: it is open, or somebody is already trying it. */
  get ready(): boolean {
    const { state } = this
    return state === 'closed' || (state === 'half-open' && !this.#probing)
  }

  /** A request is about to be made. */
  begin(): void {
    if (this.state === 'half-open') this.#probing = true
  }

  succeeded(): void {
    this.#faults = 0
    this.#openUntil = 0
    this.#probing = false
  }

  failed(): void {
    this.#faults++
    this.#probing = false
    if (this.#faults >= this.#options.failures) {
      this.#openUntil = performance.now() + this.#options.openMs
    }
  }

  /** The request was given up before it told anything. */
  gaveUp(): void {
    this.#probing = false
  }
}
