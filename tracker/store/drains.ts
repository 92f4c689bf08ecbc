/** Devices that are to be emptied, and how far that is. */
import type { DeviceStatus } from '../../common/protocol/configuration.ts'
import type { Db } from './db.ts'

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

export interface DrainRow {
  readonly devid: number
  readonly requestedAt: Date
  /** Files that are still there, and their bytes; no more than `countedFiles` are counted. */
  readonly files: number
  readonly bytes: number
  /** Open uploads that it was offered to before: they may still bring a file there. */
  readonly uploads: number
  /** Files that can be had back from a trash, with bytes there. */
  readonly trash: number
  /** Moves that wait, and why the one that failed last did. */
  readonly moves: number
  readonly lastError: string | null
}

/** Counting takes time: of more, the exact number is of no use. */
const countedFiles = 200_000

/** All drains, by device. */
export async function listDrains(db: Db): Promise<DrainRow[]> {
  const { rows } = await db.query<DrainRow>({
    name: 'drains.list',
    text: `
      select devid, requested_at as "requestedAt",
        left_over.files, left_over.bytes,
        (select count(*) from upload where devids @> array[drain.devid]
          and committed_at is null and expires_at > now()) as uploads,
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
    values: [countedFiles],
  })
  return rows
}
