/**
 * What readers say of replicas that are not what they should be. Their word is never taken for it:
 * the file is checked like any other, and nobody can make the tracker check without end.
 */
import type { ReplicaReport } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { listContents, queueWholeChecks } from '../store/checks.ts'

export interface ReplicaReports {
  /**
   * Has the file checked soon if it has a replica there. A file that was reported within the last
   * minute is left alone, and so is everything beyond so many files a minute.
   */
  take(report: ReplicaReport): Promise<void>
}

const windowMs = 60_000
/** Files that are looked up within that time. */
const maxFiles = 600

/** Creates what takes the reports of one tracker. */
export function createReplicaReports({ db }: Pick<Context, 'db'>): ReplicaReports {
  /** When each file was looked up, oldest first. */
  const taken = new Map<number, number>()

  function isNew(fid: number): boolean {
    const now = performance.now()
    for (const [old, at] of taken) {
      if (now - at < windowMs) break
      taken.delete(old)
    }
    if (taken.has(fid) || taken.size >= maxFiles) return false
    taken.set(fid, now)
    return true
  }

  return {
    async take({ fid, devid, problem }) {
      if (!isNew(fid)) return
      const files = await listContents(db, [fid])
      const holders = files.filter(({ devids }) => devids.includes(devid))
      // A length is seen without reading; other content only shows in the bytes.
      await queueWholeChecks(db, holders, { read: problem === 'digest' })
    },
  }
}
