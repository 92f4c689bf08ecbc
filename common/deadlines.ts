/**
 * Time limits for hot paths. There are several for each request, and nearly all are lifted before they
 * are reached. One coarse timer watches all of them; a timer for each would cost ten times as much.
 */

/** Something that must not take longer than its time limit. */
export interface Waited {
  /** The time limit, in the time of `performance.now()`. It may be changed at any time. */
  readonly dueAt: number
  /** Called when the limit is reached, up to one tick late. It is then no longer watched. */
  late(): void
}

/** Watches time limits. Its timer does not keep the process alive. */
export class Deadlines {
  readonly #waited = new Set<Waited>()
  #timer: NodeJS.Timeout | undefined
  readonly #tickMs: number

  /** `tickMs`: milliseconds between two checks. */
  constructor(tickMs: number) {
    this.#tickMs = tickMs
  }

  /** Watches `waited` until `lift`. */
  set(waited: Waited): void {
    this.#waited.add(waited)
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref()
  }

  /** Stops watching `waited`, which is done. */
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
