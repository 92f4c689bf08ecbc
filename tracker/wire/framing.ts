/** Request lines out of a byte stream, one at a time and however the packets are cut. */
import { CodedError } from '../../common/errors.ts'
import type { Budget } from './memory.ts'

/** Longest request line in bytes, without its line end. */
export const maxLineBytes = 1024 * 1024

/** Bytes that every line may have; a longer one comes out of the common budget. */
const freeBytes = 4 * 1024

const lf = 10
const cr = 13
const empty = Buffer.alloc(0)

/**
 * Cuts what it is given into lines. It holds at most one line's beginning and the chunks not yet
 * taken; who feeds it waits until `next` has run dry before giving it much more.
 */
export class LineReader {
  /** What has arrived, read up to `#at`. */
  #chunk: Buffer = empty
  #at = 0
  /** Room for the beginning of a line whose end is still to come; `#carried` bytes of it are in use. */
  #carry: Buffer = empty
  #carried = 0
  /** What the line last given out takes of the budget. */
  #given = 0
  readonly #budget: Budget

  /** `budget` is for long lines, of all readers together: while they arrive and until the next one. */
  constructor(budget: Budget) {
    this.#budget = budget
  }

  /** Adds bytes of the stream. They may be used for others after `keep`. */
  push(chunk: Buffer): void {
    const rest = this.#chunk.subarray(this.#at)
    this.#chunk = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    this.#at = 0
  }

  /** Copies what is unread of the bytes that were added last. */
  keep(): void {
    if (this.#chunk.length === 0) return
    this.#chunk = Buffer.from(this.#chunk.subarray(this.#at))
    this.#at = 0
  }

  /**
   * The next line that is not empty, one character per byte, without its LF and one CR before it;
   * undefined when more bytes are needed. The line before counts as done with. Throws line_too_long,
   * also when the budget has no room for a long one; after it nothing more can be read.
   */
  next(): string | undefined {
    this.#budget.give(this.#given)
    this.#given = 0
    for (;;) {
      const end = this.#chunk.indexOf(lf, this.#at)
      if (end === -1) {
        this.#keepRest()
        return undefined
      }
      const line = this.#carried === 0 ? this.#cut(this.#chunk, this.#at, end) : this.#join(end)
      this.#at = end + 1
      if (line === '') continue
      const cost = costOf(line)
      if (!this.#budget.take(cost)) throw noRoom()
      this.#given = cost
      return line
    }
  }

  /** Lets go of what has arrived, and counts the last line as done with. */
  release(): void {
    this.#budget.give(costOf(this.#carry) + this.#given)
    this.#given = 0
    this.#carry = empty
    this.#carried = 0
    this.#chunk = empty
    this.#at = 0
  }

  #cut(bytes: Buffer, start: number, end: number): string {
    const stop = end > start && bytes[end - 1] === cr ? end - 1 : end
    checkLength(stop - start)
    return bytes.toString('latin1', start, stop)
  }

  #join(end: number): string {
    this.#append(end)
    const line = this.#cut(this.#carry, 0, this.#carried)
    this.#budget.give(costOf(this.#carry))
    this.#carry = empty
    this.#carried = 0
    return line
  }

  #keepRest(): void {
    // One more than a line, for its CR.
    checkLength(this.#carried + this.#chunk.length - this.#at - 1)
    this.#append(this.#chunk.length)
    this.#chunk = empty
    this.#at = 0
  }

  /**
   * Copies the chunk up to `end` to the carried bytes. Doubling keeps a line that arrives byte by byte
   * linear in time and small in memory; a list of chunks would cost a hundred bytes for each.
   */
  #append(end: number): void {
    const length = this.#carried + end - this.#at
    if (length > this.#carry.length) {
      const bytes = Math.max(length, 2 * this.#carry.length)
      if (!this.#budget.take(costOf({ length: bytes }) - costOf(this.#carry))) {
        throw noRoom()
      }
      // Small rooms come out of a pool that a single one of them would keep from being freed.
      const room = Buffer.allocUnsafeSlow(bytes)
      this.#carry.copy(room, 0, 0, this.#carried)
      this.#carry = room
    }
    this.#chunk.copy(this.#carry, this.#carried, this.#at, end)
    this.#carried = length
  }
}

const noRoom = (): CodedError =>
  new CodedError('line_too_long', 'there is no room for so long a request line now')

/** Bytes of the budget that a line, or the room for its beginning, takes. */
const costOf = ({ length }: { readonly length: number }): number =>
  length > freeBytes ? length : 0

function checkLength(bytes: number): void {
  if (bytes > maxLineBytes) {
    throw new CodedError('line_too_long', `a request line has at most ${maxLineBytes} bytes`)
  }
}
