/**
 * Tells the trackers of replicas that are not what they should be, so that they check and repair
 * them. Nothing waits for it: a report that cannot be delivered is dropped, as scrubbing finds the
 * same later.
 */
import { request, type Agent } from 'undici'
import type { Logger } from '../../common/log.ts'
import type { ReplicaReport } from '../../common/protocol/upkeep.ts'
import type { Target } from './targets.ts'

/** What is wrong with one. */
export type ReplicaProblem = ReplicaReport['problem']

export interface ReplicaReports {
  /** Returns at once; never throws. The same replica is reported once in a while only. */
  report(target: Target, problem: ReplicaProblem): void
}

export interface ReplicaReportOptions {
  readonly trackers: readonly string[]
  readonly token: string | undefined
  readonly agent: Agent
  readonly log: Logger
}

/** Milliseconds in which a replica is not reported again. */
const quietMs = 300_000
/** Replicas remembered as reported; the oldest are forgotten first. */
const maxRemembered = 10_000
const maxUnderWay = 8
const timeoutMs = 2_000

/** Which content on which device a path names, where it is one of MogileFS's. */
export function replicaOf(path: string): { devid: number; fid: number } | undefined {
  const [, devid, fid] = /^\/dev(\d{1,10})\/(?:\d+\/)*0*(\d{1,15})\.fid(?:\?|$)/.exec(path) ?? []
  if (devid === undefined || fid === undefined) return undefined
  return { devid: Number(devid), fid: Number(fid) }
}

/** Creates what reports; without trackers it does nothing. */
export function createReplicaReports(options: ReplicaReportOptions): ReplicaReports {
  const { trackers, token, agent, log } = options
  const reported = new Map<string, number>()
  let underWay = 0

  async function deliver(report: ReplicaReport): Promise<void> {
    for (const tracker of trackers) {
      try {
        const { statusCode, body } = await request(`${tracker}/v1/reports/replica`, {
          method: 'POST',
          dispatcher: agent,
          headers: {
            'content-type': 'application/json',
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          },
          body: JSON.stringify(report),
          signal: AbortSignal.timeout(timeoutMs),
        })
        await body.dump()
        if (statusCode < 500) {
          log.debug({ ...report, statusCode }, 'replica reported')
          return
        }
      } catch (err) {
        log.debug({ err, tracker }, 'cannot report a replica')
      }
    }
  }

  return {
    report(target, problem) {
      const replica = replicaOf(target.path)
      if (!replica || trackers.length === 0 || underWay >= maxUnderWay) return
      const key = `${replica.devid} ${replica.fid}`
      const now = performance.now()
      const last = reported.get(key)
      if (last !== undefined && now - last < quietMs) return
      reported.delete(key)
      reported.set(key, now)
      const [oldest] = reported.keys()
      if (reported.size > maxRemembered && oldest !== undefined) reported.delete(oldest)
      underWay++
      log.warn({ ...replica, problem }, 'a replica is not what it should be')
      void deliver({ ...replica, problem }).finally(() => underWay--)
    },
  }
}
