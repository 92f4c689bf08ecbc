/** A body on its way to who takes it: one piece after the other, no faster than they are taken. */

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
  /** Nothing came for `stallMs`. */
  readonly onStall: () => void
  /** It is not busy any more. */
  readonly onReady: () => void
  /** The taker is done, or there is no more. */
  readonly resolve: () => void
  readonly reject: (err: unknown) => void
}

export class Pump {
  /** The taker is waited for. */
  busy = false
  over = false
  readonly #options: PumpOptions
  #timer: NodeJS.Timeout | undefined

  constructor(options: PumpOptions) {
    this.#options = options
  }

  /** From now on it is waited for the next piece. */
  arm(): void {
    if (this.over) return
    this.#timer ??= setTimeout(() => {
      if (this.busy) this.#timer?.refresh()
      else this.#options.onStall()
    }, this.#options.stallMs)
  }

  /** Gives a piece to the taker; none may follow while it is `busy` or `over`. */
  give(piece: Buffer): void {
    const { taker } = this.#options
    this.#timer?.refresh()
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
    clearTimeout(this.#timer)
    if (err === undefined) this.#options.resolve()
    else this.#options.reject(err)
  }

  #taken(): void {
    const { taker, onReady } = this.#options
    this.busy = false
    this.#timer?.refresh()
    if (taker.done) this.end()
    onReady()
  }
}
