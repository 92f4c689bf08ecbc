/** Buffers that are used again: making one costs more than reading a small file into it. */

interface Size {
  readonly bytes: number
  /** That many of them at most are kept while nobody uses them. */
  readonly maxIdle: number
  readonly idle: Buffer[]
}

/** Room for the head of an answer before the first bytes of a file. */
export const headBytes = 1024

const kib = 1024
const largeBytes = 512 * kib
/** More than this many readers of large files at once get small pieces, so that slow ones cannot fill the memory. */
const maxLarge = 24

export class Buffers {
  readonly #sizes: readonly Size[] = [
    { bytes: 8 * kib + headBytes, maxIdle: 128, idle: [] },
    { bytes: 64 * kib + headBytes, maxIdle: 128, idle: [] },
    { bytes: largeBytes, maxIdle: maxLarge, idle: [] },
  ]
  #large = 0

  /** A buffer for sending `length` bytes, with room for a head, in one or more pieces. */
  take(length: number): Buffer {
    const wanted = length + headBytes
    const [small, middle, large] = this.#sizes as [Size, Size, Size]
    if (wanted <= small.bytes) return takeFrom(small)
    if (wanted <= middle.bytes || this.#large >= maxLarge) return takeFrom(middle)
    this.#large++
    return takeFrom(large)
  }

  /** Gives back what `take` gave; `reusable` only when nobody reads or writes it any more. */
  give(buffer: Buffer, reusable: boolean): void {
    if (buffer.length === largeBytes) this.#large--
    if (!reusable) return
    const size = this.#sizes.find(({ bytes }) => bytes === buffer.length)
    if (size && size.idle.length < size.maxIdle) size.idle.push(buffer)
  }
}

const takeFrom = ({ idle, bytes }: Size): Buffer => idle.pop() ?? Buffer.allocUnsafeSlow(bytes)
