/**
 * The work that is due: files to replicate, bytes to delete. A job is claimed by moving its due
 * time: no lock to clean up after a worker that dies, its jobs fall due again by themselves.
 * Trackers that look at the same jobs each keep only the rows their update changed.
 */
import type { Db } from './db.ts'
import type { FileId } from './files.ts'

export interface ReplicateJob extends FileId {
  /** How often it was tried, this time included. */
  attempts: number
}

export interface DeleteJob extends FileId {
  attempts: number
  /** Devices where bytes may still be. */
  devids: number[]
}

/** Seconds after which a claimed job falls due again. */
const leaseSeconds = 120

/** Claims up to `limit` due jobs, oldest due first. */
export async function claimReplications(db: Db, limit: number): Promise<ReplicateJob[]> {
  const due = await db.query<FileId>({
    name: 'jobs.due_replications',
    text: 'select slot, fid from replicate_job where next_try <= now() order by next_try limit $1',
    values: [limit],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<ReplicateJob>({
    name: 'jobs.claim_replications',
    text: `
      update replicate_job
      set next_try = now() + make_interval(secs => $3), attempts = attempts + 1
      where slot = any($1) and fid = any($2) and next_try <= now()
      returning fid, slot, attempts`,
    values: [due.rows.map(r => r.slot), due.rows.map(r => r.fid), leaseSeconds],
  })
  return rows
}

/** Claims up to `limit` due jobs, oldest due first. */
export async function claimDeletions(db: Db, limit: number): Promise<DeleteJob[]> {
  const due = await db.query<FileId>({
    name: 'jobs.due_deletions',
    text: 'select slot, fid from delete_job where next_try <= now() order by next_try limit $1',
    values: [limit],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<DeleteJob>({
    name: 'jobs.claim_deletions',
    text: `
      update delete_job
      set next_try = now() + make_interval(secs => $3), attempts = attempts + 1
      where slot = any($1) and fid = any($2) and next_try <= now()
      returning fid, slot, attempts, devids`,
    values: [due.rows.map(r => r.slot), due.rows.map(r => r.fid), leaseSeconds],
  })
  return rows
}

export async function removeReplication(db: Db, { fid, slot }: FileId): Promise<void> {
  await db.query({
    name: 'jobs.remove_replication',
    text: 'delete from replicate_job where fid = $1 and slot = $2',
    values: [fid, slot],
  })
}

/** Puts a job back for later, with the reason as a sentence for people. */
export async function deferReplication(
  db: Db,
  { fid, slot }: FileId,
  { seconds, error }: { seconds: number; error: string },
): Promise<void> {
  await db.query({
    name: 'jobs.defer_replication',
    text: `
      update replicate_job set next_try = now() + make_interval(secs => $3), last_error = $4
      where fid = $1 and slot = $2`,
    values: [fid, slot, seconds, error],
  })
}

export async function removeDeletion(db: Db, { fid, slot }: FileId): Promise<void> {
  await db.query({
    name: 'jobs.remove_deletion',
    text: 'delete from delete_job where fid = $1 and slot = $2',
    values: [fid, slot],
  })
}

/** Puts a job back for the devices that are left, with the reason as a sentence for people. */
export async function deferDeletion(
  db: Db,
  { fid, slot }: FileId,
  { devids, seconds, error }: { devids: readonly number[]; seconds: number; error: string },
): Promise<void> {
  await db.query({
    name: 'jobs.defer_deletion',
    text: `
      update delete_job
      set devids = $3, next_try = now() + make_interval(secs => $4), last_error = $5
      where fid = $1 and slot = $2`,
    values: [fid, slot, devids, seconds, error],
  })
}

/** Queues bytes that no row names; adds to what is queued for that fid already. */
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
        devids = array(
          select distinct devid from unnest(delete_job.devids || excluded.devids) as devid
        )`,
    values: [fid, slot, devids, seconds],
  })
}

/** Makes work that waits for a device due now: deletions there, and copies that could not be made. */
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
  case when next_try < 'infinity' then extract(epoch from next_try)::bigint end as "nextTry"`

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

/** Makes every waiting replication due now; returns how many waited. */
export async function expediteReplications(db: Db): Promise<number> {
  const { rowCount } = await db.query({
    name: 'jobs.expedite_replications',
    text: 'update replicate_job set next_try = now() where next_try > now()',
  })
  return rowCount
}
