/** Counts all files now and then, part by part, and keeps what it came to. */
import type { Context } from '../cluster/context.ts'
import { addTallies, beginTally, countPart, writeTally, type Tally } from '../store/tally.ts'

/** Seconds between two counts. */
const restSeconds = 3600

/**
 * Returns what takes the next step: to be called about once a second by whoever holds a lease. Another
 * tracker that takes over begins anew.
 */
export function createTally(ctx: Pick<Context, 'db' | 'politely'>): () => Promise<void> {
  let count: { readonly begunAt: string; sum: Tally } | undefined
  return async () => {
    if (!count) {
      const begunAt = await beginTally(ctx.db, restSeconds)
      if (begunAt === undefined) return
      count = { begunAt, sum: { highestFid: 0, classes: [], devices: [] } }
    }
    const { begunAt, sum } = count
    const { part, ended } = await ctx.politely(() => countPart(ctx.db, sum.highestFid))
    count.sum = addTallies(sum, part)
    if (!ended) return
    await writeTally(ctx.db, begunAt, count.sum)
    count = undefined
  }
}
