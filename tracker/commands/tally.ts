/** How many files there are, of which class and on which device. */
import type { Context } from '../cluster/context.ts'
import { countPart, readTally, type Tally } from '../store/tally.ts'

/** Few files are counted now, of many the last count is told; undefined: they were never counted. */
export async function fileCounts({
  db,
}: Pick<Context, 'db'>): Promise<{ readonly countedAt: Date; readonly counts: Tally } | undefined> {
  const countedAt = new Date()
  const { part, ended } = await countPart(db, 0)
  if (ended) return { countedAt, counts: part }
  const kept = await readTally(db)
  return kept && { countedAt: kept.begunAt, counts: kept.counts }
}
