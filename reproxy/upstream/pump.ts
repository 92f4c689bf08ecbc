/** A body on its way to who takes it: one piece after the other, no faster than they are taken. */

import type { Deadlines, Waited } from '../../common/deadlines.ts'

/** Who takes a body as it comes. */
export interface Taker {
  /** No more is wanted. */
  readonly done: boolean
  /**
   * Takes a piece, which may be overwritten after the call; nothing more comes before the promise, if
   * there is one, has resolved.
   */
  take(piece: Buffer): Promise<void> | undefined
}

export interface PumpOptions {
  readonly taker: Taker
  readonly stallMs: number
  readonly deadlines: Deadlines
  /** Nothing came for `stallMs`. */
  readonly onStall: () => void
  /** It is not busy any more. */
  readonly onReady: () => void
  /** The taker is done, or there is no more. */
  readonly resolve: () => void
  readonly reject: (err: unknown) => void
}

export class Pump implements Waited {
  dueAt = Infinity
  /** The taker is waited for. */
  busy = false
  over = false
  readonly #options: PumpOptions

  constructor(options: PumpOptions) {
    this.#options = options
  }

  /** From now on it is waited for the next piece. */
  arm(): void {
    if (this.over || this.dueAt !== Infinity) return
    this.#wait()
    this.#options.deadlines.set(this)
  }

  /** Nothing came for too long; while the taker is waited for, nothing could. */
  late(): void {
    if (!this.busy) {
      this.#options.onStall()
      return
    }
    this.#wait()
    this.#options.deadlines.set(this)
  }

  /** Gives a piece to the taker; none may follow while it is `busy` or `over`. */
  give(piece: Buffer): void {
    const { taker } = this.#options
    if (this.dueAt !== Infinity) this.#wait()
    let waits: Promise<void> | undefined
    try {
      waits = taker.take(piece)
    } catch (err) {
      this.end(err)
      return
    }
    if (!waits) {
      if (taker.done) this.end()
      return
    }
    this.busy = true
    waits.then(
      () => this.#taken(),
      (err: unknown) => this.end(err),
    )
  }

  /** Ends it; with a reason when not as it should. */
  end(err?: unknown): void {
    if (this.over) return
    this.over = true
    this.#options.deadlines.lift(this)
    if (err === undefined) this.#options.resolve()
    else this.#options.reject(err)
  }

  #taken(): void {
    const { taker, onReady } = this.#options
    this.busy = false
    if (this.dueAt !== Infinity) this.#wait()
    if (taker.done) this.end()
    onReady()
  }

  #wait(): void {
    this.dueAt = performance.now() + this.#options.stallMs
  }
}
