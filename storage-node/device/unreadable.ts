/** Files that could not be read of late: trackers, which hear of them, have them checked. */

/** Milliseconds that one is told: trackers ask every few seconds. */
const toldMs = 10_000
/** Milliseconds in which one that was told is not told again. */
const quietMs = 60_000
/** A disk on which all reads fail is not told file by file. */
const most = 100

export class Unreadable {
  /** When each was found, oldest first. */
  readonly #foundAt = new Map<number, number>()

  /** Notes one. False: there is nothing new about it. */
  add(fid: number): boolean {
    const now = performance.now()
    for (const [found, at] of this.#foundAt) {
      if (now - at < quietMs) break
      this.#foundAt.delete(found)
    }
    if (this.#foundAt.has(fid) || this.#foundAt.size >= most) return false
    this.#foundAt.set(fid, now)
    return true
  }

  /** Those to be told now. */
  list(): number[] {
    const now = performance.now()
    return [...this.#foundAt].flatMap(([fid, at]) => (now - at < toldMs ? [fid] : []))
  }
}
