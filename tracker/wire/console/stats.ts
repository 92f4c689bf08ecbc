import type { JobState } from '../../workers/jobs.ts'
import type { Queries } from './queries.ts'

/** What `!stats` says: four figures that are always there, then by name those that have occurred. */
export function statLines({
  startedAt,
  jobs,
  queries,
}: {
  /** As `performance.now()` told it. */
  readonly startedAt: number
  readonly jobs: readonly JobState[]
  readonly queries: Queries
}): string[] {
  const workers = jobs.find(({ name }) => name === 'queryworker')?.count ?? 0
  const counters: [name: string, value: number][] = [
    ['queries', queries.total],
    ['times_out_of_qworkers', queries.waited],
  ]
  for (const { name, sent, queued } of jobs) {
    if (sent + queued === 0) continue
    counters.push([`work_queue_for_${name}`, queued], [`work_sent_to_${name}`, sent])
  }
  return [
    `uptime ${Math.floor((performance.now() - startedAt) / 1000)}`,
    `pending_queries ${queries.waiting().length}`,
    `processing_queries ${queries.processing}`,
    `bored_queryworkers ${Math.max(0, workers - queries.processing)}`,
    ...counters
      .filter(([name, value]) => value > 0 || name.startsWith('work_queue_for_'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name} ${value}`),
  ]
}
