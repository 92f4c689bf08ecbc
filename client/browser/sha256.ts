/** SHA-256 (FIPS 180-4) of bytes that come piece by piece, which the browser's own cannot do. */

/** Of what is behind the point, the first 32 bits. */
const fraction = (n: number): number => (n - Math.floor(n)) * 2 ** 32

/** §5.3.3 and §4.2.2 */
const firstWords = Uint32Array.from(primes(8), prime => fraction(Math.sqrt(prime)))
const constants = Uint32Array.from(primes(64), prime => fraction(Math.cbrt(prime)))

function primes(count: number): number[] {
  const found: number[] = []
  for (let n = 2; found.length < count; n++) if (found.every(p => n % p !== 0)) found.push(n)
  return found
}

export class Sha256 {
  readonly #state = firstWords.slice()
  readonly #block = new Uint8Array(64)
  readonly #words = new Int32Array(64)
  #filled = 0
  #size = 0

  update(bytes: Uint8Array): this {
    this.#size += bytes.length
    let at = 0
    while (at < bytes.length) {
      const piece = bytes.subarray(at, at + 64 - this.#filled)
      this.#block.set(piece, this.#filled)
      this.#filled += piece.length
      at += piece.length
      if (this.#filled < 64) return this
      this.#mix(new DataView(this.#block.buffer), 0)
      this.#filled = 0
      // Whole blocks need not be copied.
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      for (; at + 64 <= bytes.length; at += 64) this.#mix(view, at)
    }
    return this
  }

  /** The digest of all that came. Nothing may come after it. */
  digest(): Uint8Array<ArrayBuffer> {
    const size = this.#size
    const padding = new Uint8Array(((119 - (size % 64)) % 64) + 9)
    padding[0] = 0x80
    const length = new DataView(padding.buffer)
    length.setUint32(padding.length - 8, Math.floor(size / 2 ** 29))
    length.setUint32(padding.length - 4, (size % 2 ** 29) * 8)
    this.update(padding)
    const digest = new Uint8Array(32)
    const view = new DataView(digest.buffer)
    this.#state.forEach((word, i) => view.setUint32(i * 4, word))
    return digest
  }

  /** §6.2.2 */
  #mix(view: DataView, offset: number): void {
    const state = this.#state
    const w = this.#words
    for (let t = 0; t < 16; t++) w[t] = view.getInt32(offset + t * 4)
    for (let t = 16; t < 64; t++) {
      const x = w[t - 15]!
      const y = w[t - 2]!
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
      w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0
    }
    let a = state[0]! | 0
    let b = state[1]! | 0
    let c = state[2]! | 0
    let d = state[3]! | 0
    let e = state[4]! | 0
    let f = state[5]! | 0
    let g = state[6]! | 0
    let h = state[7]! | 0
    for (let t = 0; t < 64; t++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + constants[t]! + w[t]!) | 0
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    state[0]! += a
    state[1]! += b
    state[2]! += c
    state[3]! += d
    state[4]! += e
    state[5]! += f
    state[6]! += g
    state[7]! += h
  }
}

/** Lower-case hex. */
export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
