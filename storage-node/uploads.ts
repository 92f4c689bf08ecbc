/** What uploads under way may hold in memory together. */

const budget = 64 * 1024 * 1024
const maxPiece = 256 * 1024
const minPiece = 32 * 1024

export class Uploads {
  #count = 0

  /** Bytes that one upload collects before it writes them; less the more uploads there are. */
  readonly pieceSize = (): number =>
    Math.max(minPiece, Math.min(maxPiece, Math.floor(budget / 2 / Math.max(1, this.#count))))

  /** Counts an upload for as long as `work` takes. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#count++
    try {
      return await work()
    } finally {
      this.#count--
    }
  }
}
