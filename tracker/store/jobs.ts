/**
 * The work that is due: files to replicate, bytes to delete. A job is claimed by moving its due
 * time: no lock to clean up after a worker that dies, its jobs fall due again by themselves.
 * Trackers that look at the same jobs each keep only the rows their update changed.
 */
import type { Db } from './db.ts'
import { allDevids } from './deletions.ts'
import type { FileId } from './files.ts'
import { unindexed } from './unindexed.ts'

export interface ReplicateJob extends FileId {
  /** Of the file; another one once it is renamed. */
  slot: number
  /** How often it was tried, this time included. */
  attempts: number
  /** Of the claim: who does not know it, or finds another in its place, does nothing to the job. */
  lease: string
  /** It was queued because something about many files changed. */
  reviewed: boolean
  /** Something has changed about the file that whoever claims it may not have read yet. */
  news: boolean
}

/** Seconds after which a claimed job falls due again. */
export const leaseSeconds = 120

/** Seconds after which nobody can still record a copy that was begun before. */
export const lateSeconds = leaseSeconds + 30

/**
 * Claims up to `limit` due jobs: those with the fewest copies, and of them the oldest due, first.
 * `readAt` is when the configuration was read.
 */
export async function claimReplications(
  db: Db,
  limit: number,
  readAt: string,
): Promise<ReplicateJob[]> {
  const due = await db.query<FileId>({
    name: 'jobs.due_replications',
    text: `
      select slot, fid from replicate_job where next_try <= now()
      order by copies, next_try limit $1`,
    values: [limit],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<ReplicateJob>({
    name: 'jobs.claim_replications',
    text: `
      update replicate_job
      set next_try = now() + make_interval(secs => $3), attempts = attempts + 1
      from unnest($1::smallint[], $2::bigint[]) as due (slot, fid)
      where replicate_job.slot = due.slot and replicate_job.fid = due.fid
        and ${unindexed('next_try <= now()')}
      returning replicate_job.fid, replicate_job.slot, attempts, next_try::text as lease,
        changed_at is not null as reviewed, coalesce(changed_at >= $4::timestamptz, false) as news`,
    values: [due.rows.map(r => r.slot), due.rows.map(r => r.fid), leaseSeconds, readAt],
  })
  return rows
}

/** Goes on with a claim for `leaseSeconds` more. False: somebody else wants or has the job. */
export async function extendReplication(db: Db, job: ReplicateJob): Promise<boolean> {
  const { rows } = await db.query<{ lease: string }>({
    name: 'jobs.extend_replication',
    text: `
      update replicate_job set next_try = now() + make_interval(secs => $4)
      where fid = $1 and slot = $2
        and ${unindexed('next_try = $3::timestamptz and next_try > now()')}
      returning next_try::text as lease`,
    values: [job.fid, job.slot, job.lease, leaseSeconds],
  })
  job.lease = rows[0]?.lease ?? job.lease
  return rows.length > 0
}

/**
 * Claims a job anew that somebody asked for while it was claimed: who asks leaves whoever is at it a
 * second before others may claim it. False: it is done, or not asked for.
 */
export async function reclaimReplication(db: Db, job: ReplicateJob): Promise<boolean> {
  const { rows } = await db.query<{ lease: string }>({
    name: 'jobs.reclaim_replication',
    text: `
      update replicate_job set next_try = now() + make_interval(secs => $3)
      where fid = $1 and slot = $2 and ${unindexed("next_try <= now() + interval '1 second'")}
      returning next_try::text as lease`,
    values: [job.fid, job.slot, leaseSeconds],
  })
  job.lease = rows[0]?.lease ?? job.lease
  return rows.length > 0
}

/**
 * Has a claim go on in the slot that its file was renamed into. The rename has brought the job there;
 * one that was queued in the same moment is brought now. False: somebody else wants or has the job.
 */
export async function followReplication(
  db: Db,
  { fid, slot, lease }: Pick<ReplicateJob, 'fid' | 'slot' | 'lease'>,
  to: number,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'jobs.follow_replication',
    text: `
      with left_behind as (
        delete from replicate_job
        where fid = $1 and slot = $2 and ${unindexed('next_try = $4::timestamptz')}
        returning *
      ), brought as (
        insert into replicate_job (fid, slot, next_try, queued_at, attempts, last_error, changed_at,
          copies)
        select fid, $3, next_try, queued_at, attempts, last_error, changed_at, copies
        from left_behind
        on conflict (fid, slot) do nothing
        returning fid
      )
      select from brought
      union all
      select from replicate_job
      where fid = $1 and slot = $3 and ${unindexed('next_try = $4::timestamptz')}`,
    values: [fid, slot, to, lease],
  })
  return rowCount > 0
}

/** Ends claimed jobs. One that was asked for again meanwhile stays. */
export async function removeReplications(
  db: Db,
  jobs: readonly Pick<ReplicateJob, 'fid' | 'slot' | 'lease'>[],
): Promise<void> {
  await db.query({
    name: 'jobs.remove_replications',
    text: `
      delete from replicate_job
      using unnest($1::bigint[], $2::smallint[], $3::text[]) as done (fid, slot, lease)
      where replicate_job.fid = done.fid and replicate_job.slot = done.slot
        and ${unindexed('next_try = lease::timestamptz')}`,
    values: [
      jobs.map(({ fid }) => fid),
      jobs.map(({ slot }) => slot),
      jobs.map(({ lease }) => lease),
    ],
  })
}

/**
 * Puts a claimed job back for later, with the reason as a sentence for people; null seconds: until a
 * person asks for it. One that was asked for again meanwhile stays as it is.
 */
export async function deferReplication(
  db: Db,
  { fid, slot, lease }: Pick<ReplicateJob, 'fid' | 'slot' | 'lease'>,
  { seconds, error }: { seconds: number | null; error: string },
): Promise<void> {
  await db.query({
    name: 'jobs.defer_replication',
    text: `
      update replicate_job set
        next_try = coalesce(now() + make_interval(secs => $4), 'infinity'), last_error = $5
      where fid = $1 and slot = $2 and ${unindexed('next_try = $3::timestamptz')}`,
    values: [fid, slot, lease, seconds, error],
  })
}

/**
 * Queues bytes that no row names; adds to what is queued for that fid already. Where that waits for
 * the trash to let go, or was tried before and may be under way, it does not wait as long; where the
 * grace period still runs it does.
 */
export async function insertDeletion(
  db: Db,
  { fid, slot }: FileId,
  { devids, seconds }: { devids: readonly number[]; seconds: number },
): Promise<void> {
  await db.query({
    name: 'jobs.insert_deletion',
    text: `
      insert into delete_job (fid, slot, devids, next_try)
      values ($1, $2, $3, now() + make_interval(secs => $4))
      on conflict (fid, slot) do update set
        devids = ${allDevids},
        next_try = case
          when delete_job.attempts > 0 or exists (
            select from trash where trash.fid = excluded.fid and trash.slot = excluded.slot
          ) then least(delete_job.next_try, excluded.next_try)
          else delete_job.next_try end`,
    values: [fid, slot, devids, seconds],
  })
}

/** Makes work that waits for a device due now: deletions there, and copies, checks and moves that failed. */
export async function hurryJobs(db: Db, devids: readonly number[]): Promise<void> {
  await db.query({
    name: 'jobs.hurry_deletions',
    text: `
      update delete_job set next_try = now()
      where devids && $1 and last_error is not null and next_try > now()`,
    values: [devids],
  })
  await db.query({
    name: 'jobs.hurry_replications',
    text: `
      update replicate_job set next_try = now()
      where last_error is not null and next_try > now() and next_try < 'infinity'`,
  })
  await db.query({
    name: 'jobs.hurry_checks',
    text: `
      update check_job set next_try = now()
      where last_error is not null and next_try > now() and next_try < 'infinity'`,
  })
  await db.query({
    name: 'jobs.hurry_moves',
    text: `
      update rebalance_job set next_try = now()
      where last_error is not null and next_try > now() and next_try < 'infinity'`,
  })
}

export interface QueueDepth {
  waiting: number
  due: number
  lastError: string | null
}

/** How deep the queues are, with the newest error of each. */
export async function queueDepths(db: Db): Promise<{ replicate: QueueDepth; delete: QueueDepth }> {
  const depth = async (table: 'replicate_job' | 'delete_job'): Promise<QueueDepth> => {
    const { rows } = await db.query<QueueDepth>({
      name: `jobs.depth_${table}`,
      text: `
        select count(*) as waiting, count(*) filter (where next_try <= now()) as due,
          (array_agg(last_error order by next_try desc)
            filter (where last_error is not null))[1] as "lastError"
        from ${table}`,
    })
    return rows[0]!
  }
  const [replicate, deletions] = await Promise.all([depth('replicate_job'), depth('delete_job')])
  return { replicate, delete: deletions }
}

/** A queued job as people look at it. */
export interface QueuedJob {
  fid: number
  attempts: number
  /** Unix time in seconds; null: it waits for a person. */
  nextTry: number | null
}

export interface QueuedDeletion extends QueuedJob {
  devids: number[]
}

const nextTry = `
  case when next_try < 'infinity' then floor(extract(epoch from next_try))::bigint end as "nextTry"`

export async function findReplication(db: Db, fid: number): Promise<QueuedJob | undefined> {
  const { rows } = await db.query<QueuedJob>({
    name: 'jobs.find_replication',
    text: `select fid, attempts, ${nextTry} from replicate_job where fid = $1`,
    values: [fid],
  })
  return rows[0]
}

export async function findDeletion(db: Db, fid: number): Promise<QueuedDeletion | undefined> {
  const { rows } = await db.query<QueuedDeletion>({
    name: 'jobs.find_deletion',
    text: `select fid, attempts, devids, ${nextTry} from delete_job where fid = $1`,
    values: [fid],
  })
  return rows[0]
}

export async function findCheck(db: Db, fid: number): Promise<QueuedJob | undefined> {
  const { rows } = await db.query<QueuedJob>({
    name: 'jobs.find_check',
    text: `select fid, attempts, ${nextTry} from check_job where fid = $1`,
    values: [fid],
  })
  return rows[0]
}

export interface QueuedMove extends QueuedJob {
  /** The device to leave. */
  devid: number
  /** Where it may go to. */
  devids: number[]
}

/** The moves of a file, each from another device. */
export async function listMoves(db: Db, fid: number): Promise<QueuedMove[]> {
  const { rows } = await db.query<QueuedMove>({
    name: 'jobs.list_moves',
    text: `
      select fid, devid, devids, attempts, ${nextTry} from rebalance_job
      where fid = $1 order by queued_at, devid`,
    values: [fid],
  })
  return rows
}

/** Makes every waiting replication due now; returns how many waited. */
export async function expediteReplications(db: Db): Promise<number> {
  const { rowCount } = await db.query({
    name: 'jobs.expedite_replications',
    text: 'update replicate_job set next_try = now() where next_try > now()',
  })
  return rowCount
}
