/**
 * Tells those who work for a request that it is not wanted any more. Several are made for each
 * request, and an AbortController with its listeners costs ten times as much.
 */
export class Cancel {
  #aborted = false
  #listeners: (() => void)[] | undefined

  get aborted(): boolean {
    return this.#aborted
  }

  /** Calls every listener, once. */
  abort(): void {
    this.#aborted = true
    const listeners = this.#listeners ?? []
    this.#listeners = undefined
    for (const listener of listeners) listener()
  }

  /** Has `listener` called by `abort`; never when that has already been. */
  add(listener: () => void): void {
    if (this.#aborted) return
    // An array that begins empty makes room for many, and there is rarely more than one.
    if (this.#listeners) this.#listeners.push(listener)
    else this.#listeners = [listener]
  }

  remove(listener: () => void): void {
    const listeners = this.#listeners
    const at = listeners?.lastIndexOf(listener) ?? -1
    if (at !== -1) listeners?.splice(at, 1)
  }

  /** The same for interfaces that know nothing else; in use until this is aborted. */
  toSignal(): AbortSignal {
    const controller = new AbortController()
    if (this.#aborted) controller.abort()
    else this.add(() => controller.abort())
    return controller.signal
  }
}
