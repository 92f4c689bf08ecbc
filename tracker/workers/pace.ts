/** How much is done at once, and how fast. */
import { setTimeout as sleep } from 'node:timers/promises'

/** So much at once for each of some things, known by their numbers; the others wait in line. */
export class Slots {
  readonly #limit: () => number
  readonly #taken = new Map<number, number>()
  readonly #waiting = new Map<number, (() => void)[]>()

  /** `limit` is asked whenever one is wanted. */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  /** One can be had now. */
  isFree(id: number): boolean {
    return (this.#taken.get(id) ?? 0) < this.#limit()
  }

  /** Waits for one and takes it, or the `share` of it that is given. */
  async take(id: number, share = 1): Promise<void> {
    while (!this.isFree(id)) {
      await new Promise<void>(resolve => {
        const line = this.#waiting.get(id) ?? []
        line.push(resolve)
        this.#waiting.set(id, line)
      })
    }
    this.#taken.set(id, (this.#taken.get(id) ?? 0) + share)
    // What was given back may be enough for more than one.
    if (share < 1 && this.isFree(id)) this.#waiting.get(id)?.shift()?.()
  }

  /** Gives back what was taken. */
  release(id: number, share = 1): void {
    this.#taken.set(id, (this.#taken.get(id) ?? share) - share)
    this.#waiting.get(id)?.shift()?.()
  }
}

/** Lets so much a second through: what exceeds it waits, after what came before. */
export class Pace {
  readonly #perSecond: () => number
  #freeAt = 0

  /** `perSecond` is asked each time; 0: any number. */
  constructor(perSecond: () => number) {
    this.#perSecond = perSecond
  }

  /** Waits until `amount` more may go. Rejects with the signal's reason. */
  async wait(amount: number, signal: AbortSignal): Promise<void> {
    const perSecond = this.#perSecond()
    if (perSecond === 0) return
    const now = performance.now()
    const at = Math.max(now, this.#freeAt)
    this.#freeAt = at + (amount / perSecond) * 1000
    if (at > now) await sleep(at - now, undefined, { signal })
  }
}
