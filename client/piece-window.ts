/** A stream's bytes while somebody may need them: read at several places at once, also again. */
export class PieceWindow {
  readonly #pieces: { readonly at: number; readonly bytes: Uint8Array }[] = []
  #given = 0
  readonly #waiting = new Set<() => void>()

  /** Bytes that have come so far. */
  get given(): number {
    return this.#given
  }

  give(bytes: Uint8Array): void {
    this.#pieces.push({ at: this.#given, bytes })
    this.#given += bytes.length
    this.wake()
  }

  /** Has those who wait for bytes look at their signals. */
  wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }

  /** Nobody will read what comes before this offset. */
  forget(before: number): void {
    const kept = this.#pieces.findIndex(({ at, bytes }) => at + bytes.length > before)
    this.#pieces.splice(0, kept < 0 ? this.#pieces.length : kept)
  }

  /** Resolves when the byte at `offset` has come. Throws the signal's reason at the next `wake`. */
  async reached(offset: number, signal: AbortSignal): Promise<void> {
    while (this.#given <= offset) {
      await new Promise<void>(resolve => this.#waiting.add(resolve))
      signal.throwIfAborted()
    }
  }

  /** The bytes from `first` to `end`, none of which is forgotten, as they come. Throws as `reached`. */
  async *read(first: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let at = first; at < end;) {
      await this.reached(at, signal)
      const piece = this.#pieces.find(found => found.at + found.bytes.length > at)
      if (!piece || piece.at > at) throw new Error('bytes that are wanted were forgotten')
      const part = piece.bytes.subarray(at - piece.at, end - piece.at)
      at += part.length
      yield part
    }
  }
}
