/**
 * Pieces of a body that wait for whoever takes them. What is read lies in memory that the next read
 * overwrites, so they are copied; large ones into memory that is used again, because allocating it
 * each time, and clearing its pages, costs more than the copy.
 */

/** A piece that waits. */
export interface Piece {
  readonly bytes: Buffer
  /** What it lies in, where that can be used again. */
  readonly base: Buffer | undefined
}

const spares: Buffer[] = []
const spareBytes = 65_536
const maxSpares = 64

export class PieceQueue {
  #pieces: Piece[] = []
  #bytes = 0

  get isEmpty(): boolean {
    return this.#pieces.length === 0
  }

  /** How many bytes wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** Copies a piece to the end. */
  push(bytes: Buffer): void {
    this.#bytes += bytes.length
    this.#pieces.push(copyOf(bytes))
  }

  /** Takes the first piece away; give it to `recycle` when nobody needs its bytes any more. */
  shift(): Piece | undefined {
    const piece = this.#pieces.shift()
    if (piece) this.#bytes -= piece.bytes.length
    return piece
  }

  clear(): void {
    this.#pieces = []
    this.#bytes = 0
  }
}

/** Has the memory of a piece used again. */
export function recycle({ base }: Piece): void {
  if (base && spares.length < maxSpares) spares.push(base)
}

function copyOf(bytes: Buffer): Piece {
  if (bytes.length > spareBytes || bytes.length < spareBytes / 2) {
    return { bytes: Buffer.from(bytes), base: undefined }
  }
  const base = spares.pop() ?? Buffer.allocUnsafeSlow(spareBytes)
  bytes.copy(base)
  return { bytes: base.subarray(0, bytes.length), base }
}
