/** What rebalance has stored of itself, and the moves that it queued. */
import type { DeviceStatus } from '../../common/protocol/configuration.ts'
import type { Db } from './db.ts'
import { countedFiles } from './drains.ts'
import type { FileId } from './files.ts'
import { readUpkeep, writeUpkeep } from './upkeep.ts'
import { unindexed } from './unindexed.ts'

/** Policy and state are texts of words `name=value`. */
export interface RebalanceRow {
  /** The tracker that started it; undefined: it does not run. */
  readonly host: string | undefined
  readonly policy: string | undefined
  readonly state: string | undefined
}

/** What is stored now, and whether fsck runs. */
export async function readRebalance(db: Db): Promise<RebalanceRow & { fsckRuns: boolean }> {
  const settings = await readUpkeep(db)
  return {
    host: settings.text('rebal_host'),
    policy: settings.text('rebal_policy'),
    state: settings.text('rebal_state'),
    fsckRuns: settings.text('fsck_host') !== undefined,
  }
}

/** Writes what is named; undefined takes it away. Belongs behind `lockUpkeep`. */
export async function writeRebalance(
  tx: Db,
  change: { readonly [name in keyof RebalanceRow]?: string | undefined },
): Promise<void> {
  const settings = Object.entries(change).map(([name, value]) => [`rebal_${name}`, value])
  await writeUpkeep(tx, Object.fromEntries(settings))
}

/**
 * Puts a device that files may be taken from into drain and returns what it was. Undefined, and
 * nothing is changed, when it is neither alive nor drained already.
 */
export async function drainDevice(tx: Db, devid: number): Promise<DeviceStatus | undefined> {
  const { rows } = await tx.query<{ before: DeviceStatus }>({
    name: 'rebalance.drain_device',
    text: `
      update device set status = 'drain'
      from (select id, status from device where id = $1 for update) as old
      where device.id = old.id and old.status in ('alive', 'drain')
      returning old.status as before`,
    values: [devid],
  })
  return rows[0]?.before
}

/** Gives a drained device its status back, unless somebody gave it another one meanwhile. */
export async function restoreDevice(
  tx: Db,
  { devid, status }: { readonly devid: number; readonly status: DeviceStatus },
): Promise<void> {
  await tx.query({
    name: 'rebalance.restore_device',
    text: `update device set status = $2 where id = $1 and status = 'drain'`,
    values: [devid, status],
  })
}

export interface StoredFile extends FileId {
  readonly size: number
  readonly devids: readonly number[]
}

/** Files with a replica on `devid` behind `after` (0: from the beginning), by fid. */
export async function listFilesOn(
  db: Db,
  {
    devid,
    after,
    newestFirst,
    limit,
  }: {
    readonly devid: number
    readonly after: number
    readonly newestFirst: boolean
    readonly limit: number
  },
): Promise<StoredFile[]> {
  const { rows } = await db.query<StoredFile>(
    newestFirst
      ? {
          name: 'rebalance.newest_files',
          text: `
            select fid, slot, size, devids from file where devids @> array[$1::int] and ($2 = 0 or fid < $2)
            order by fid desc limit $3`,
          values: [devid, after, limit],
        }
      : {
          name: 'rebalance.oldest_files',
          text: `
            select fid, slot, size, devids from file where devids @> array[$1::int] and fid > $2
            order by fid limit $3`,
          values: [devid, after, limit],
        },
  )
  return rows
}

/** How many files have a replica on each of some devices, no more than `countedFiles`, and their bytes. */
export async function countFilesOn(
  db: Db,
  devids: readonly number[],
): Promise<{ devid: number; files: number; bytes: number }[]> {
  const { rows } = await db.query<{ devid: number; files: number; bytes: number }>({
    name: 'rebalance.count_files',
    text: `
      select devid, part.files, part.bytes
      from unnest($1::int[]) as devid cross join lateral (
        select count(*) as files, coalesce(sum(size), 0)::bigint as bytes
        from (select size from file where devids @> array[devid] limit $2) as part
      ) as part
      order by devid`,
    values: [devids, countedFiles],
  })
  return rows
}

/** A replica that is to leave `devid` for one of `devids`, or for anywhere when there are none. */
export interface Move extends FileId {
  readonly devid: number
  readonly devids: readonly number[]
}

/** Queues moves; one that is queued already stays as it is. */
export async function insertMoves(tx: Db, moves: readonly Move[]): Promise<void> {
  await tx.query({
    name: 'rebalance.insert_moves',
    text: `
      insert into rebalance_job (fid, slot, devid, devids, next_try)
      select fid, slot, devid, string_to_array(devids, ',')::int[], now()
      from unnest($1::bigint[], $2::smallint[], $3::int[], $4::text[])
        as move (fid, slot, devid, devids)
      on conflict (fid, devid, slot) do nothing`,
    values: [
      moves.map(({ fid }) => fid),
      moves.map(({ slot }) => slot),
      moves.map(({ devid }) => devid),
      moves.map(({ devids }) => devids.join(',')),
    ],
  })
}

/** How many moves wait; counts no further than `atMost`. */
export async function countMoves(db: Db, atMost: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    name: 'rebalance.count_moves',
    text: 'select count(*) as count from (select from rebalance_job limit $1) as part',
    values: [atMost],
  })
  return rows[0]!.count
}

/** A move that was claimed. */
export interface MoveJob extends Move {
  /** How often it was tried, this time included. */
  readonly attempts: number
  /** Of the claim: who does not know it does nothing to the job. */
  lease: string
}

/** Of the moves of a file, the one from device $3, while its lease is $4. */
const claimed = unindexed('devid = $3 and next_try = $4::timestamptz')

/** Seconds after which a claimed move falls due again. */
export const leaseSeconds = 120

/** Claims up to `limit` due moves, oldest due first. */
export async function claimMoves(db: Db, limit: number): Promise<MoveJob[]> {
  const due = await db.query<FileId & { devid: number }>({
    name: 'rebalance.due_moves',
    text: `
      select slot, fid, devid from rebalance_job where next_try <= now() order by next_try limit $1`,
    values: [limit],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<MoveJob>({
    name: 'rebalance.claim_moves',
    text: `
      update rebalance_job as job
      set next_try = now() + make_interval(secs => $4), attempts = attempts + 1
      from unnest($1::smallint[], $2::bigint[], $3::int[]) as due (slot, fid, devid)
      where job.slot = due.slot and job.fid = due.fid
        and ${unindexed('job.devid = due.devid and next_try <= now()')}
      returning job.fid, job.slot, job.devid, devids, attempts, next_try::text as lease`,
    values: [
      due.rows.map(r => r.slot),
      due.rows.map(r => r.fid),
      due.rows.map(r => r.devid),
      leaseSeconds,
    ],
  })
  return rows
}

/** Goes on with a claim for `leaseSeconds` more. False: it has run out, and somebody else may have it. */
export async function extendMove(db: Db, job: MoveJob): Promise<boolean> {
  const { rows } = await db.query<{ lease: string }>({
    name: 'rebalance.extend_move',
    text: `
      update rebalance_job set next_try = now() + make_interval(secs => $5)
      where fid = $1 and slot = $2 and ${claimed} and ${unindexed('next_try > now()')}
      returning next_try::text as lease`,
    values: [job.fid, job.slot, job.devid, job.lease, leaseSeconds],
  })
  job.lease = rows[0]?.lease ?? job.lease
  return rows.length > 0
}

/**
 * Notes the copy that a move has made and verified of the file in `slot`, which may have been renamed
 * since the move was queued. False, and nothing is done, when the file is gone or filed elsewhere, the
 * claim has run out, or bytes on that device wait for their deletion.
 */
export async function recordMoved(
  db: Db,
  { fid, slot, devid, lease }: MoveJob,
  copy: { readonly slot: number; readonly devid: number; readonly sha256: Buffer | null },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'rebalance.record_moved',
    text: `
      update file set
        devids = case when $5 = any(file.devids) then file.devids else file.devids || $5::int end,
        sha256 = coalesce(sha256, $6)
      from rebalance_job as job
      where file.fid = $1 and file.slot = $7
        and job.fid = $1 and job.slot = $2 and ${claimed} and ${unindexed('next_try > now()')}
        and not exists (
          select from delete_job
          where delete_job.fid = $1 and delete_job.devids @> array[$5::int])`,
    values: [fid, slot, devid, lease, copy.devid, copy.sha256, copy.slot],
  })
  return rowCount > 0
}

/** Ends a claimed move. One that somebody else has by now stays. */
export async function removeMove(db: Db, { fid, slot, devid, lease }: MoveJob): Promise<void> {
  await db.query({
    name: 'rebalance.remove_move',
    text: `
      delete from rebalance_job
      where fid = $1 and slot = $2 and ${claimed}`,
    values: [fid, slot, devid, lease],
  })
}

/** Puts a claimed move back for later, with the reason as a sentence for people. */
export async function deferMove(
  db: Db,
  { fid, slot, devid, lease }: MoveJob,
  { seconds, error }: { readonly seconds: number; readonly error: string },
): Promise<void> {
  await db.query({
    name: 'rebalance.defer_move',
    text: `
      update rebalance_job set next_try = now() + make_interval(secs => $5), last_error = $6
      where fid = $1 and slot = $2 and ${claimed}`,
    values: [fid, slot, devid, lease, seconds, error],
  })
}
