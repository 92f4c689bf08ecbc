/** Bytes that are to go: of deleted and replaced files, of uploads given up, of replicas dropped. */
import type { Db } from './db.ts'
import type { FileId } from './files.ts'
import { unindexed } from './unindexed.ts'

export interface DeleteJob extends FileId {
  /** How often it was tried, this time included. */
  attempts: number
  /** Devices where bytes may still be. */
  devids: number[]
  /** Of the claim. */
  lease: string
}

/** For an `on conflict`: the devices that a job in the queue names and those that are to be added. */
export const allDevids = `array(
  select distinct devid from unnest(delete_job.devids || excluded.devids) as devid)`

/** Seconds after which a claimed job falls due again. */
const leaseSeconds = 120

/** Seconds that the bytes of a file stay after it can no longer be had back from the trash. */
export const trashMarginSeconds = 60

/** Claims up to `limit` due jobs, oldest due first, but those with nothing to do except on `others`. */
export async function claimDeletions(
  db: Db,
  limit: number,
  others: readonly number[] = [],
): Promise<DeleteJob[]> {
  const due = await db.query<FileId>({
    name: 'deletions.due',
    text: `
      select slot, fid from delete_job
      where next_try <= now() and (devids = '{}' or not devids <@ $2::int[])
      order by next_try limit $1`,
    values: [limit, others],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<DeleteJob>({
    name: 'deletions.claim',
    text: `
      update delete_job
      set next_try = now() + make_interval(secs => $3), attempts = attempts + 1
      from unnest($1::smallint[], $2::bigint[]) as due (slot, fid)
      where delete_job.slot = due.slot and delete_job.fid = due.fid
        and ${unindexed('next_try <= now()')}
      returning delete_job.fid, delete_job.slot, attempts, devids, next_try::text as lease`,
    values: [due.rows.map(r => r.slot), due.rows.map(r => r.fid), leaseSeconds],
  })
  return rows
}

/** Replicas that are not to go, whatever the queue says. */
export interface Keeper {
  readonly fid: number
  readonly devids: number[]
  /** Seconds until it is out of the trash for good; null: the file is live. */
  readonly seconds: number | null
}

/** The live files among contents, and those that can be had back. */
export async function listKeepers(db: Db, fids: readonly number[]): Promise<Keeper[]> {
  const { rows } = await db.query<Keeper>({
    name: 'deletions.list_keepers',
    text: `
      select fid, devids, null::float8 as seconds from file where fid = any($1::bigint[])
      union all
      select fid, devids, extract(epoch from expires_at - now())::float8 + $2 from trash
      where fid = any($1::bigint[]) and expires_at > now() - make_interval(secs => $2)`,
    values: [fids, trashMarginSeconds],
  })
  return rows
}

/** What was done of a job. */
export interface Settled extends FileId {
  /** Devices on which nothing is left to do. */
  readonly done: readonly number[]
  /** Those of them from which bytes were removed. */
  readonly removed: readonly number[]
}

/**
 * Takes what is done out of the queue. What was added to a job meanwhile stays. Where a live file's
 * row has come to name a replica whose bytes were removed just now, the row is corrected.
 */
export async function settleDeletions(db: Db, jobs: readonly Settled[]): Promise<void> {
  if (jobs.length === 0) return
  await db.query({
    name: 'deletions.settle',
    text: `
      with settled as (
        select fid, slot, done::int[] as done, removed::int[] as removed
        from unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[])
          as w (fid, slot, done, removed)
      ), finished as (
        delete from delete_job using settled
        where delete_job.fid = settled.fid and delete_job.slot = settled.slot and devids <@ done
        returning delete_job.fid, delete_job.slot
      ), left_over as (
        update delete_job set devids = array(
          select devid from unnest(devids) as devid where devid <> all (done))
        from settled
        where delete_job.fid = settled.fid and delete_job.slot = settled.slot and not devids <@ done
      ), expired as (
        delete from trash using finished
        where trash.fid = finished.fid and trash.slot = finished.slot
      ), corrected as (
        update file set devids = array(
          select devid from unnest(devids) as devid where devid <> all (removed))
        from settled where file.fid = settled.fid and devids && removed
        returning file.fid, file.slot
      )
      insert into replicate_job (fid, slot, next_try)
      select fid, slot, now() from corrected
      on conflict (fid, slot) do update set
        next_try = least(replicate_job.next_try, excluded.next_try)`,
    values: [
      jobs.map(({ fid }) => fid),
      jobs.map(({ slot }) => slot),
      jobs.map(({ done }) => `{${done.join(',')}}`),
      jobs.map(({ removed }) => `{${removed.join(',')}}`),
    ],
  })
}

/**
 * Puts what is left of a claimed job back for later, with the reason as a sentence for people. Where
 * somebody else has it by now, it does not fall due before his claim ends.
 */
export async function deferDeletion(
  db: Db,
  { fid, slot, lease }: Pick<DeleteJob, 'fid' | 'slot' | 'lease'>,
  { seconds, error }: { readonly seconds: number; readonly error: string | null },
): Promise<void> {
  await db.query({
    name: 'deletions.defer',
    text: `
      update delete_job set last_error = $4, next_try = greatest(
        case when next_try <> $5::timestamptz then next_try end, now() + make_interval(secs => $3))
      where fid = $1 and slot = $2`,
    values: [fid, slot, seconds, error, lease],
  })
}
