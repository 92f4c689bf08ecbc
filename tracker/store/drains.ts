/** Devices that are to be emptied, and how far that is. */
import type { DeviceStatus } from '../../common/protocol/configuration.ts'
import type { Db } from './db.ts'
import { settledSeconds } from './reviews.ts'

/**
 * Asks for a device to be emptied: it gives its files away and gets no more. False, and nothing is
 * changed, when it is neither alive, readonly nor drained. Asked again, it stays as it is.
 */
export async function insertDrain(tx: Db, devid: number): Promise<boolean> {
  const { rows } = await tx.query<{ before: DeviceStatus }>({
    name: 'drains.set_status',
    text: `
      update device set status = 'drain'
      from (select id, status from device where id = $1 for update) as old
      where device.id = old.id and old.status in ('alive', 'readonly', 'drain')
      returning old.status as before`,
    values: [devid],
  })
  const [row] = rows
  if (!row) return false
  await tx.query({
    name: 'drains.insert',
    text: `
      insert into drain (devid, status_before) values ($1, $2) on conflict (devid) do nothing`,
    values: [devid, row.before],
  })
  return true
}

/** Calls the emptying off, and gives the device the status back that it had before. False: there was none. */
export async function removeDrain(tx: Db, devid: number): Promise<boolean> {
  // In the order of `insertDrain`: the device, then its drain.
  await tx.query({
    name: 'drains.lock_device',
    text: 'select from device where id = $1 for update',
    values: [devid],
  })
  const { rows } = await tx.query<{ before: DeviceStatus }>({
    name: 'drains.remove',
    text: 'delete from drain where devid = $1 returning status_before as before',
    values: [devid],
  })
  const [row] = rows
  if (!row) return false
  await tx.query({
    name: 'drains.remove_moves',
    text: `delete from rebalance_job where devid = $1 and devids = '{}'`,
    values: [devid],
  })
  await tx.query({
    name: 'drains.restore_status',
    text: `update device set status = $2 where id = $1 and status = 'drain'`,
    values: [devid, row.before],
  })
  return true
}

/** Forgets drains of devices that somebody gave another status. */
export async function dropStaleDrains(tx: Db): Promise<void> {
  await tx.query({
    name: 'drains.drop_stale',
    text: `
      with stale as (
        delete from drain using device
        where device.id = drain.devid and device.status <> 'drain'
        returning drain.devid
      )
      delete from rebalance_job using stale
      where rebalance_job.devid = stale.devid and rebalance_job.devids = '{}'`,
  })
}

export interface DrainStep {
  readonly devid: number
  readonly position: number
}

/** Seconds between two looks at a device from its first file on. */
const againSeconds = 15

/** Claims drains whose next step is due, for `seconds`. */
export async function claimDrains(db: Db, seconds: number): Promise<DrainStep[]> {
  const { rows } = await db.query<DrainStep>({
    name: 'drains.claim',
    text: `
      update drain set next_step = now() + make_interval(secs => $1) where next_step <= now()
      returning devid, position`,
    values: [seconds],
  })
  return rows
}

/** Notes that files up to `position` are queued; 0: all were, and are looked at again after a while. */
export async function advanceDrain(db: Db, { devid, position }: DrainStep): Promise<void> {
  await db.query({
    name: 'drains.advance',
    text: `
      update drain set position = $2::bigint,
        next_step = now() + case when $2::bigint = 0 then make_interval(secs => $3) else interval '0' end
      where devid = $1`,
    values: [devid, position, againSeconds],
  })
}

/** Seconds between two counts of the uploads that a drain waits for. */
const recountSeconds = 5

/**
 * Seconds after which nothing can come to a drained device but by uploads that were opened for it:
 * every tracker knows, and what one of them wrote just before is in the database.
 */
const knownSeconds = settledSeconds + 5

/**
 * Counts the open uploads that drained devices were offered to. That reads all uploads there are: it
 * is done every few seconds for all drains together, until nothing more can come.
 */
export async function countDrainUploads(db: Db): Promise<void> {
  const { rows: due } = await db.query<{ devid: number; at: string }>({
    name: 'drains.uncounted',
    text: `
      select devid, now()::text as at from drain
      where uploads_at is null or uploads_at < now() - make_interval(secs => $1)
        and (uploads > 0 or uploads_at < requested_at + make_interval(secs => $2))`,
    values: [recountSeconds, knownSeconds],
  })
  const [first] = due
  if (!first) return
  const devids = due.map(({ devid }) => devid)
  const { rows: offered } = await db.query<{ devid: number; uploads: number }>({
    name: 'drains.count_uploads',
    text: `
      select devid, count(*) as uploads from upload cross join unnest(devids) as devid
      where devids && $1::int[] and committed_at is null and expires_at > now()
      group by devid`,
    values: [devids],
  })
  const counts = new Map(offered.map(({ devid, uploads }) => [devid, uploads]))
  await db.query({
    name: 'drains.note_uploads',
    text: `
      update drain set uploads = counted.uploads, uploads_at = $3::timestamptz
      from unnest($1::int[], $2::int[]) as counted (devid, uploads)
      where drain.devid = counted.devid`,
    values: [devids, devids.map(devid => counts.get(devid) ?? 0), first.at],
  })
}

export interface DrainRow {
  readonly devid: number
  readonly requestedAt: Date
  /** Files that are still there, and their bytes; no more than `countedFiles` are counted. */
  readonly files: number
  readonly bytes: number
  /** Open uploads that it was offered to before, a few seconds ago: they may still bring a file there. */
  readonly uploads: number
  /** Files that can be had back from a trash, with bytes there. */
  readonly trash: number
  /** Moves that wait, and why the one that failed last did. */
  readonly moves: number
  readonly lastError: string | null
  /** No live file is there, and none can come. */
  readonly empty: boolean
}

/** Counting takes time: of more, the exact number is of no use. */
export const countedFiles = 200_000

/** All drains, by device. */
export async function listDrains(db: Db): Promise<DrainRow[]> {
  const { rows } = await db.query<Omit<DrainRow, 'empty'> & { known: boolean }>({
    name: 'drains.list',
    text: `
      select devid, requested_at as "requestedAt",
        left_over.files, left_over.bytes,
        uploads, coalesce(uploads_at >= requested_at + make_interval(secs => $2), false) as known,
        (select count(*) from trash where devids @> array[drain.devid]) as trash,
        (select count(*) from rebalance_job as job where job.devid = drain.devid) as moves,
        (select last_error from rebalance_job as job
          where job.devid = drain.devid and last_error is not null
          order by next_try desc limit 1) as "lastError"
      from drain cross join lateral (
        select count(*) as files, coalesce(sum(size), 0)::bigint as bytes
        from (select size from file where devids @> array[drain.devid] limit $1) as part
      ) as left_over
      order by devid`,
    values: [countedFiles, knownSeconds],
  })
  return rows.map(({ known, ...row }) => ({
    ...row,
    empty: known && row.files === 0 && row.uploads === 0,
  }))
}
