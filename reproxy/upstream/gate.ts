import type { Cancel } from './cancel.ts'

/** Lets so many through at a time; the others wait in the order they came. */
export class Gate {
  readonly #limit: number
  readonly #waiting = new Set<() => void>()
  #used = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** How many are inside. */
  get used(): number {
    return this.#used
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Goes in if there is room now. */
  tryEnter(): boolean {
    if (this.#used >= this.#limit) return false
    this.#used++
    return true
  }

  /** Resolves true once inside, false when `cancel` aborted before. Whoever is inside must `leave`. */
  async enter(cancel: Cancel): Promise<boolean> {
    if (cancel.aborted) return false
    if (this.tryEnter()) return true
    return new Promise(resolve => {
      const onAbort = (): void => {
        this.#waiting.delete(onTurn)
        resolve(false)
      }
      const onTurn = (): void => {
        cancel.remove(onAbort)
        resolve(true)
      }
      this.#waiting.add(onTurn)
      cancel.add(onAbort)
    })
  }

  /** Gives the place to whoever waits longest. */
  leave(): void {
    const [next] = this.#waiting
    if (!next) {
      this.#used--
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
