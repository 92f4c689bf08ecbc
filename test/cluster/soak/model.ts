/**
 * What may be under each key. An operation that was answered leaves one state; one whose answer was
 * lost leaves the one before and the one after, and its effect may still come until all is quiet.
 */

/** A content, by its number, in a class; `absent`: there is no file. */
export type State = { readonly content: number; readonly className: string } | 'absent'

const same = (a: State, b: State): boolean =>
  a === b ||
  (a !== 'absent' && b !== 'absent' && a.content === b.content && a.className === b.className)

function distinct(states: readonly State[]): State[] {
  return states.filter((state, i) => states.findIndex(other => same(other, state)) === i)
}

export class Model {
  readonly #possible = new Map<string, readonly State[]>()
  /** What operations without an answer may still bring about. */
  readonly #late = new Map<string, readonly State[]>()

  possible(key: string): readonly State[] {
    return distinct([...(this.#possible.get(key) ?? ['absent']), ...this.late(key)])
  }

  late(key: string): readonly State[] {
    return this.#late.get(key) ?? []
  }

  allows(key: string, state: State): boolean {
    return this.possible(key).some(one => same(one, state))
  }

  /** An operation was answered: this is what can be there now. */
  became(key: string, states: readonly State[]): void {
    this.#possible.set(key, distinct(states))
  }

  /** An operation was not answered: this may be there as well, now or later. */
  mayBecome(key: string, states: readonly State[]): void {
    this.#possible.set(key, this.possible(key))
    this.#late.set(key, distinct([...this.late(key), ...states]))
  }

  /** Nothing is under way: this is what is there. */
  is(key: string, state: State): void {
    this.#possible.set(key, [state])
    this.#late.delete(key)
  }

  get keys(): string[] {
    return [...new Set([...this.#possible.keys(), ...this.#late.keys()])]
  }
}

/** The bytes of a content: any two differ. */
export function bytesOf(content: number): Buffer {
  const size = content % 17 === 0 ? 0 : (content * 977) % 20_000
  const head = Buffer.from(`content ${content} `)
  return content % 17 === 0 ? head : Buffer.concat([head, Buffer.alloc(size, content & 0xff)])
}
