/**
 * Background work makes way for requests. While clients ask for much, it is done in rounds: nothing new
 * is begun until what is under way has ended, and for three times as long again.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Requests a second from which on background work makes way, and requests under way at once. */
const manyRequests = 1_000
const manyAtOnce = 4
/** Milliseconds over which they are counted. */
const windowMs = 50
/** Rest, as a multiple of the round before it, and the longest of either, in milliseconds. */
const restShare = 3
const longestRestMs = 2_000

/** What clients ask for. */
export interface Clients {
  /** Requests so far. */
  readonly total: () => number
  /** Requests that are being worked on. */
  readonly underWay: () => number
}

export class Courtesy {
  readonly #clients: Clients
  #underWay = 0
  #since = 0
  #counted = 0
  #resting: Promise<void> | undefined
  #drained: () => void = () => {}

  constructor(clients: Clients) {
    this.#clients = clients
  }

  /** Does `work` when its turn comes. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#turn()
    this.#underWay++
    try {
      return await work()
    } finally {
      if (--this.#underWay === 0) this.#drained()
    }
  }

  #turn(): Promise<void> | undefined {
    if (this.#resting) return this.#resting
    const ms = performance.now() - this.#since
    if (ms < windowMs) return undefined
    const { total, underWay } = this.#clients
    const many = (total() - this.#counted) / ms >= manyRequests / 1000
    // Those that are kept from their turn by what is done here come in smaller numbers.
    const wait = underWay() >= manyAtOnce
    // Over a long time without work the number says nothing about now.
    if (ms > 10 * windowMs || !(many || wait)) {
      this.#count()
      return undefined
    }
    this.#resting = this.#rest().finally(() => {
      this.#resting = undefined
      this.#count()
    })
    return this.#resting
  }

  #count(): void {
    this.#since = performance.now()
    this.#counted = this.#clients.total()
  }

  async #rest(): Promise<void> {
    if (this.#underWay > 0) {
      const drained = new Promise<void>(resolve => {
        this.#drained = resolve
      })
      // A large file must not hold up the small ones.
      await Promise.race([drained, sleep(longestRestMs)])
    }
    const workedMs = performance.now() - this.#since
    await sleep(Math.min(workedMs * restShare, longestRestMs))
  }
}
