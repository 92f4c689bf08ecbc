/** The queues of jobs as people look at them: how deep, how old, and what was given up. */
import type { Db } from './db.ts'

export type QueueName = 'replicate' | 'delete' | 'fsck' | 'rebalance'

const tables: Readonly<Record<QueueName, string>> = {
  replicate: 'replicate_job',
  delete: 'delete_job',
  fsck: 'check_job',
  rebalance: 'rebalance_job',
}

export const queueNames = Object.keys(tables) as QueueName[]

export interface QueueRow {
  waiting: number
  /** Due, and not tried yet. */
  new: number
  /** Due, and tried before. */
  overdue: number
  /** Due later. */
  deferred: number
  /** Given up: they wait for a person. */
  stuck: number
  /** By the time since they were queued. */
  underMinute: number
  underHour: number
  underDay: number
  older: number
  oldestAt: Date | null
  lastError: string | null
}

/** Counts one queue; reads all of it. */
export async function countQueue(db: Db, queue: QueueName): Promise<QueueRow> {
  const { rows } = await db.query<QueueRow>({
    name: `queues.count_${queue}`,
    text: `
      select count(*) as waiting,
        count(*) filter (where next_try <= now() and attempts = 0) as new,
        count(*) filter (where next_try <= now() and attempts > 0) as overdue,
        count(*) filter (where next_try > now() and next_try < 'infinity') as deferred,
        count(*) filter (where next_try = 'infinity') as stuck,
        count(*) filter (where queued_at > now() - interval '1 minute') as "underMinute",
        count(*) filter (where queued_at <= now() - interval '1 minute'
          and queued_at > now() - interval '1 hour') as "underHour",
        count(*) filter (where queued_at <= now() - interval '1 hour'
          and queued_at > now() - interval '1 day') as "underDay",
        count(*) filter (where queued_at <= now() - interval '1 day') as older,
        min(queued_at) as "oldestAt",
        (array_agg(last_error order by next_try desc)
          filter (where last_error is not null))[1] as "lastError"
      from ${tables[queue]}`,
  })
  return rows[0]!
}

/** A job that nothing happens to by itself. */
export interface StuckRow {
  fid: number
  attempts: number
  queuedAt: Date
  lastError: string | null
}

/** Jobs of one queue that were given up, by fid, from behind `after`. */
export async function listStuck(
  db: Db,
  queue: QueueName,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<StuckRow[]> {
  const { rows } = await db.query<StuckRow>({
    name: `queues.stuck_${queue}`,
    text: `
      select fid, max(attempts) as attempts, min(queued_at) as "queuedAt",
        max(last_error) as "lastError"
      from ${tables[queue]}
      where next_try = 'infinity' and fid > $1
      group by fid order by fid limit $2`,
    values: [after, limit],
  })
  return rows
}
