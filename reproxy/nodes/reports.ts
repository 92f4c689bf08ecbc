/** Delivers what is wrong with replicas to the trackers, to the first that takes it. */
import { request, type Agent } from 'undici'
import { createReplicaReports, type ReplicaReports } from '../../client/replica-reports.ts'
import type { Logger } from '../../common/log.ts'
import type { ReplicaReport } from '../../common/protocol/upkeep.ts'

export interface TrackerReportOptions {
  readonly trackers: readonly string[]
  readonly token: string | undefined
  readonly agent: Agent
  readonly log: Logger
}

const timeoutMs = 2_000

/** Creates what reports; without trackers it does nothing. */
export function createTrackerReports({
  trackers,
  token,
  agent,
  log,
}: TrackerReportOptions): ReplicaReports {
  if (trackers.length === 0) return { report() {} }
  return createReplicaReports(async (report: ReplicaReport) => {
    log.warn(report, 'a replica is not what it should be')
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
  })
}
