/**
 * What arrives together becomes one statement: while queries are under way, further items queue; the
 * next query takes all that wait. Nothing ever waits for more to come, so a single caller pays
 * nothing, and under load the cost of a round trip is shared by everybody in it.
 */

export interface BatcherOptions<In, Out> {
  /** Most items in one statement. */
  readonly limit: number
  /** Statements under way at once. */
  readonly parallel: number
  /** Items that have any of these in common never share a statement. */
  readonly keysOf?: (item: In) => readonly string[]
  /** Handles all items, in order. Throws when it could not; then each is run by itself. */
  readonly run: (items: readonly In[]) => Promise<readonly Out[]>
}

interface Waiting<In, Out> {
  readonly item: In
  readonly resolve: (out: Out) => void
  readonly reject: (err: unknown) => void
}

/** Returns a function that hands one item in and resolves with what `run` made of it. */
export function createBatcher<In, Out>({
  limit,
  parallel,
  keysOf,
  run,
}: BatcherOptions<In, Out>): (item: In) => Promise<Out> {
  let waiting: Waiting<In, Out>[] = []
  let underWay = 0
  let scheduled = false

  const settle = async (batch: readonly Waiting<In, Out>[]): Promise<void> => {
    try {
      const outs = await run(batch.map(({ item }) => item))
      batch.forEach(({ resolve }, i) => resolve(outs[i] as Out))
    } catch (err) {
      const [only] = batch
      // One bad item must not fail its neighbours.
      if (batch.length > 1) await Promise.all(batch.map(one => settle([one])))
      else only?.reject(err)
    }
  }
  const take = (): Waiting<In, Out>[] => {
    const batch: Waiting<In, Out>[] = []
    const left: Waiting<In, Out>[] = []
    const taken = new Set<string>()
    for (const one of waiting) {
      const keys = keysOf?.(one.item) ?? []
      if (batch.length >= limit || keys.some(key => taken.has(key))) {
        left.push(one)
        continue
      }
      for (const key of keys) taken.add(key)
      batch.push(one)
    }
    waiting = left
    return batch
  }
  const flush = (): void => {
    scheduled = false
    while (underWay < parallel && waiting.length > 0) {
      underWay++
      void settle(take()).finally(() => {
        underWay--
        flush()
      })
    }
  }
  return item =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (scheduled || underWay >= parallel) return
      scheduled = true
      // All that this turn of the event loop brings goes out together.
      setImmediate(flush)
    })
}
