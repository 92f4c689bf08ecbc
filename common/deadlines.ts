/**
 * Time limits that are nearly always lifted before they are reached, several for each request: one
 * coarse timer looks after all of them. A timer for each would cost ten times as much.
 */

/** What is waited for. */
export interface Waited {
  /** When it is too late (performance.now()); may be moved at any time. */
  readonly dueAt: number
  /** It is too late. Called once, up to a tick after `dueAt`; it is not looked after any more. */
  late(): void
}

export class Deadlines {
  readonly #waited = new Set<Waited>()
  #timer: NodeJS.Timeout | undefined
  readonly #tickMs: number

  /** `tickMs`: milliseconds between two looks. */
  constructor(tickMs: number) {
    this.#tickMs = tickMs
  }

  /** Looks after `waited` until `lift`. */
  set(waited: Waited): void {
    this.#waited.add(waited)
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref()
  }

  /** There is nothing to wait for any more. */
  lift(waited: Waited): void {
    this.#waited.delete(waited)
  }

  #tick(): void {
    const now = performance.now()
    for (const waited of this.#waited) {
      if (waited.dueAt > now) continue
      this.#waited.delete(waited)
      waited.late()
    }
    if (this.#waited.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
