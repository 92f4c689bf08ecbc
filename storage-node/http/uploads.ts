/** What uploads under way may hold in memory together. */

const budget = 8 * 1024 * 1024
const maxPiece = 256 * 1024
const minPiece = 16 * 1024
const many = 4

export class Uploads {
  readonly #fsync: boolean
  #count = 0

  /** `fsync`: they are flushed. */
  constructor({ fsync }: { readonly fsync: boolean }) {
    this.#fsync = fsync
  }

  /**
   * So many are under way that small ones are worth writing together, by the device's thread. Where
   * files are flushed, names wait for the file system's journal: there one thread would be slower.
   */
  get together(): boolean {
    return this.#count >= many && !this.#fsync
  }

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
