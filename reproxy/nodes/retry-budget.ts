/**
 * Bounds what failures cost: attempts beyond the first of their request may make up only a share of
 * the work in progress, so that sick nodes are not buried under repetitions.
 */

export interface RetryBudgetOptions {
  readonly ratio: number
  readonly min: number
  /** Client requests in progress. */
  readonly inflight: () => number
}

export class RetryBudget {
  readonly #options: RetryBudgetOptions
  #taken = 0

  constructor(options: RetryBudgetOptions) {
    this.#options = options
  }

  /** Takes one if there is one; it must be given back once. */
  take(): boolean {
    const { ratio, min, inflight } = this.#options
    if (this.#taken + 1 > Math.max(min, ratio * inflight())) return false
    this.#taken++
    return true
  }

  giveBack(): void {
    this.#taken--
  }
}
