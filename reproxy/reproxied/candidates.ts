import type { RetryBudget } from '../nodes/retry-budget.ts'
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'

export interface CandidatesOptions {
  readonly budget: RetryBudget
  readonly metrics: Metrics
  /** Requests that may be made. */
  readonly most: number
}

/** With so many, the first that was asked may be back when the last has failed. */
const manyReplicas = 3

/** Which of a file's replicas is asked next, and how often one may be asked at all. */
export class Candidates {
  readonly #options: CandidatesOptions
  #queue: Target[]
  /** Asked already, and not found wrong: they may be asked again once another has done its part. */
  #asked: Target[] = []
  #count = 0
  #most: number
  /** Requests that are no repetition. */
  #firsts = 1
  /** Those asked in the search under way. */
  #now: Target[] = []
  /** The one whose body broke off last. */
  #broken: Target | undefined
  /** A part of the body has come, which is lost when nobody can go on with it. */
  #begun = false
  #maySecond = false
  readonly #manyReplicas: boolean

  constructor(targets: readonly Target[], options: CandidatesOptions) {
    this.#options = options
    this.#queue = [...targets]
    this.#most = options.most
    this.#manyReplicas = targets.length >= manyReplicas
  }

  /** One could be had, as far as is known. */
  get some(): boolean {
    return this.#queue.length > 0
  }

  /** A search for another one begins. */
  begin(): void {
    this.#now = []
    this.#maySecond = this.#begun && this.#manyReplicas
  }

  /**
   * The next one, and whether a share of the retry budget goes with it, which is to be given back;
   * undefined when there is none, or it may not be asked.
   */
  next(): { readonly target: Target; readonly paid: boolean } | undefined {
    const { budget, metrics } = this.#options
    if (!this.some && this.#maySecond) this.#addSecondRound()
    const [target] = this.#queue
    if (!target || this.#count >= this.#most) return undefined
    const paid = this.#count >= this.#firsts
    if (paid && !budget.take()) {
      metrics.shed('budget')
      return undefined
    }
    this.#queue.shift()
    this.#now.push(target)
    this.#count++
    return { target, paid }
  }

  /** It was not asked after all. */
  uncount(): void {
    this.#count--
  }

  /** It failed, but is not known to be wrong. */
  failed(target: Target): void {
    this.#asked.push(target)
  }

  /**
   * It looked good, but its body broke off, after some `progress` or none. A long body may outlive
   * several failures of each node: those that failed before this one did its part are worth another try.
   */
  brokeOff(target: Target, progress: boolean): void {
    if (progress) {
      this.#begun = true
      this.#queue.push(...this.#asked)
      this.#asked = []
    }
    this.#broken = target
    this.#asked.push(target)
  }

  /** Something else is wanted: its first request is no repetition, and goes to `good` if that is given. */
  another(good: Target | undefined): void {
    this.#most++
    this.#firsts = this.#count + 1
    if (good) this.#queue = [good, ...this.#queue.filter(target => target !== good)]
  }

  /**
   * Before a body is given up for lost, those that failed earlier are asked once more, as they may be
   * back; the one that has just broken off only when others were asked in between.
   */
  #addSecondRound(): void {
    this.#maySecond = false
    const now = this.#now
    const again = this.#asked.filter(
      target => !now.includes(target) && (now.length > 0 || target !== this.#broken),
    )
    this.#asked = this.#asked.filter(target => !again.includes(target))
    this.#queue = again
  }
}
