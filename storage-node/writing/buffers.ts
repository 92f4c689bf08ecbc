/** Buffers that are used again: making one costs more than reading a small file into it. */

interface Size {
  readonly bytes: number
  readonly idle: Buffer[]
}

/** So much of a size is kept while nobody uses it: what is dropped stays until garbage is collected. */
const maxIdleBytes = 32 * 1024 * 1024

/** Room for the head of an answer before the first bytes of a file. */
export const headBytes = 1024

const kib = 1024
const largeBytes = 512 * kib

/** What is no longer than this always comes in one piece. */
export const onePieceBytes = 64 * kib

/** More than this many readers of large files at once get small pieces, so that slow ones cannot fill the memory. */
const maxLarge = 24

/** While more than this is lent, nobody should read ahead; pieces are small while it is twice as much. */
const plentyBytes = 8 * 1024 * kib

export class Buffers {
  readonly #sizes: readonly Size[] = [
    { bytes: 8 * kib + headBytes, idle: [] },
    { bytes: 32 * kib + headBytes, idle: [] },
    { bytes: onePieceBytes + headBytes, idle: [] },
    { bytes: largeBytes, idle: [] },
  ]
  #large = 0
  #lentBytes = 0

  /** So much is lent that nobody should take more than they need to go on. */
  get scarce(): boolean {
    return this.#lentBytes > plentyBytes
  }

  /** A buffer for sending `length` bytes, with room for a head, in one or more pieces. */
  take(length: number): Buffer {
    const size = this.#sizeFor(length + headBytes)
    if (size.bytes === largeBytes) this.#large++
    this.#lentBytes += size.bytes
    return size.idle.pop() ?? Buffer.allocUnsafeSlow(size.bytes)
  }

  /** Gives back what `take` gave; `reusable` only when nobody reads or writes it any more. */
  give(buffer: Buffer, reusable: boolean): void {
    if (buffer.length === largeBytes) this.#large--
    this.#lentBytes -= buffer.length
    if (!reusable) return
    const size = this.#sizes.find(({ bytes }) => bytes === buffer.length)
    if (size && size.idle.length * size.bytes < maxIdleBytes) size.idle.push(buffer)
  }

  #sizeFor(wanted: number): Size {
    const [small, half, middle, large] = this.#sizes as [Size, Size, Size, Size]
    if (wanted <= small.bytes) return small
    if (wanted <= half.bytes) return half
    if (wanted <= middle.bytes) return middle
    if (this.#large < maxLarge) return large
    return this.#lentBytes > 2 * plentyBytes ? half : middle
  }
}
