/**
 * Tells the trackers of replicas that are not what they should be, so that they check and repair
 * them. Nothing waits for it: a report that cannot be delivered is dropped, as scrubbing finds the
 * same later.
 */
import type { Replica } from '../common/layout.ts'
import type { ReplicaReport } from '../common/protocol/upkeep.ts'

/** What is wrong with one. */
export type ReplicaProblem = ReplicaReport['problem']

export interface ReplicaReports {
  /**
   * Reports the replica that a URL or path names. Returns at once; never throws. The same replica is
   * reported once in five minutes at most.
   */
  report(url: string, problem: ReplicaProblem): void
}

/** Milliseconds in which a replica is not reported again. */
const quietMs = 300_000
/** Replicas remembered as reported; the oldest are forgotten first. */
const maxRemembered = 10_000
const maxUnderWay = 8

/** Which content on which device a URL or path names, where it is a replica's. */
export function replicaOf(url: string): Replica | undefined {
  const match = /^(?:https?:\/\/[^/]*)?\/dev(\d{1,10})\/(?:\d+\/)*0*(\d{1,15})\.fid(?:\?|$)/i.exec(
    url,
  )
  return match ? { devid: Number(match[1]), fid: Number(match[2]) } : undefined
}

/** Creates what reports by `deliver`, whose failures are ignored. */
export function createReplicaReports(
  deliver: (report: ReplicaReport) => Promise<unknown>,
): ReplicaReports {
  const reported = new Map<string, number>()
  let underWay = 0
  return {
    report(url, problem) {
      const replica = replicaOf(url)
      if (!replica || underWay >= maxUnderWay) return
      const key = `${replica.devid} ${replica.fid}`
      const now = performance.now()
      const last = reported.get(key)
      if (last !== undefined && now - last < quietMs) return
      reported.delete(key)
      reported.set(key, now)
      const [oldest] = reported.keys()
      if (reported.size > maxRemembered && oldest !== undefined) reported.delete(oldest)
      underWay++
      deliver({ ...replica, problem })
        .catch(() => {})
        .finally(() => underWay--)
    },
  }
}
