/**
 * What all clients together may make the server hold. Limits per connection are not enough: a
 * thousand connections that each stay just below theirs would add up to gigabytes.
 */

/** Bytes for one purpose, to be shared out. */
export class Budget {
  #left: number

  constructor(bytes: number) {
    this.#left = bytes
  }

  /** Takes `bytes`; false, and nothing is taken, when there are not as many left. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

/** A client with answers that it has not read. */
export interface Debtor {
  /** Lets go of them at once, by `owe` with 0. */
  cut(): void
}

/**
 * The answers that clients have not read. When they are too many, those who have kept theirs the
 * longest are cut off: whoever reads at all has only just got them.
 */
export class UnreadAnswers {
  readonly #limit: number
  /** Bytes of each, the oldest debt first. */
  readonly #debts = new Map<Debtor, number>()
  #total = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Notes what `debtor` has not read by now. */
  owe(debtor: Debtor, bytes: number): void {
    this.#total += bytes - (this.#debts.get(debtor) ?? 0)
    if (bytes === 0) this.#debts.delete(debtor)
    else this.#debts.set(debtor, bytes)
    for (const oldest of this.#debts.keys()) {
      if (this.#total <= this.#limit) return
      oldest.cut()
    }
  }
}
