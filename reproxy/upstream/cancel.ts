/**
 * Tells those who work for a request that it is not wanted any more. Several are made for each
 * request, and an AbortController with its listeners costs ten times as much.
 */
export class Cancel {
  #aborted = false
  readonly #listeners: (() => void)[] = []

  get aborted(): boolean {
    return this.#aborted
  }

  /** Calls every listener, once. */
  abort(): void {
    this.#aborted = true
    for (const listener of this.#listeners.splice(0)) listener()
  }

  /** Has `listener` called by `abort`; never when that has already been. */
  add(listener: () => void): void {
    if (!this.#aborted) this.#listeners.push(listener)
  }

  remove(listener: () => void): void {
    const at = this.#listeners.lastIndexOf(listener)
    if (at !== -1) this.#listeners.splice(at, 1)
  }

  /** The same for interfaces that know nothing else; in use until this is aborted. */
  toSignal(): AbortSignal {
    const controller = new AbortController()
    if (this.#aborted) controller.abort()
    else this.add(() => controller.abort())
    return controller.signal
  }
}
