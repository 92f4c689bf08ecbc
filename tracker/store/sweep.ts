/** Comparisons of what lies on devices with what the database says. */
import type { Db } from './db.ts'

export interface SweepStep {
  readonly devid: number
  /** In the list of the device, everything up to this file was compared. */
  readonly position: number
  /** Of this round: files listed, and of them without an owner. */
  readonly files: number
  readonly extra: number
  /** Of the round before; undefined: there was none. */
  readonly last: { readonly files: number; readonly extra: number } | undefined
}

/** Sees to it that every device has its turn: a new one first in `seconds`. */
export async function addSweeps(db: Db, seconds: number): Promise<void> {
  await db.query({
    name: 'sweep.add',
    text: `
      insert into sweep (devid, next_step)
      select id, now() + make_interval(secs => $1) from device on conflict (devid) do nothing`,
    values: [seconds],
  })
}

/** Claims the device whose step is due first, for `seconds`. */
export async function claimSweep(db: Db, seconds: number): Promise<SweepStep | undefined> {
  const { rows } = await db.query<
    Omit<SweepStep, 'last'> & { finished: boolean; lastFiles: number; lastExtra: number }
  >({
    name: 'sweep.claim',
    text: `
      update sweep
      set next_step = now() + make_interval(secs => $1), started_at = coalesce(started_at, now())
      where devid = (
          select devid from sweep where next_step <= now() order by next_step limit 1
        ) and next_step <= now()
      returning devid, position, files, extra, finished_at is not null as finished,
        last_files as "lastFiles", last_extra as "lastExtra"`,
    values: [seconds],
  })
  const [row] = rows
  if (!row) return undefined
  const { finished, lastFiles, lastExtra, ...step } = row
  return { ...step, last: finished ? { files: lastFiles, extra: lastExtra } : undefined }
}

/** Goes on with a claim for `seconds` more; with one that has run out it does not. */
export async function extendSweep(db: Db, devid: number, seconds: number): Promise<void> {
  await db.query({
    name: 'sweep.extend',
    text: `
      update sweep set next_step = now() + make_interval(secs => $2)
      where devid = $1 and next_step > now()`,
    values: [devid, seconds],
  })
}

export interface SweepProgress {
  readonly files: number
  /** Missing, or of another size. */
  readonly wrong: number
  readonly extra: number
  readonly removed: number
  /** Seconds until the next step. */
  readonly rest: number
}

/** Notes what a step has compared. */
export async function advanceSweep(
  db: Db,
  { devid, position }: { readonly devid: number; readonly position: number },
  { files, wrong, extra, removed, rest }: SweepProgress,
): Promise<void> {
  await db.query({
    name: 'sweep.advance',
    text: `
      update sweep set position = $2, files = files + $3, wrong = wrong + $4, extra = extra + $5,
        removed = removed + $6, next_step = now() + make_interval(secs => $7)
      where devid = $1`,
    values: [devid, position, files, wrong, extra, removed, rest],
  })
}

/** Ends a round; the next one begins `rest` seconds later. */
export async function finishSweep(db: Db, devid: number, rest: number): Promise<void> {
  await db.query({
    name: 'sweep.finish',
    text: `
      update sweep set finished_at = now(), started_at = null, position = 0,
        last_files = files, last_extra = extra, files = 0, wrong = 0, extra = 0, removed = 0,
        next_step = now() + make_interval(secs => $2)
      where devid = $1`,
    values: [devid, rest],
  })
}

/** Bytes on a device that its rows do not name. */
export interface Unclaimed {
  readonly fid: number
  /** The file of that content, live or in the trash, which has its replicas elsewhere. */
  readonly owner:
    { readonly slot: number; readonly size: number; readonly devids: number[] } | undefined
}

/**
 * Of bytes on a device, those that nothing explains: no row that names them, no open upload, no copy or
 * deletion that waits, and a number that was given out.
 */
export async function listUnclaimed(
  db: Db,
  devid: number,
  fids: readonly number[],
): Promise<Unclaimed[]> {
  if (fids.length === 0) return []
  const { rows } = await db.query<{
    fid: number
    slot: number | null
    size: number
    devids: number[]
  }>({
    name: 'sweep.list_unclaimed',
    text: `
      select found.fid, owner.slot, owner.size, owner.devids
      from unnest($2::bigint[]) as found (fid)
      left join (
        select fid, slot, size, devids from file
        union all
        select fid, slot, size, devids from trash
      ) as owner on owner.fid = found.fid
      where (owner.fid is null or not owner.devids @> array[$1::int])
        and not exists (select from upload
          where upload.fid = found.fid and committed_at is null)
        and not exists (select from replicate_job as job where job.fid = found.fid)
        and not exists (select from rebalance_job as job where job.fid = found.fid)
        and not exists (select from delete_job as job
          where job.fid = found.fid and job.devids @> array[$1::int])
        and (found.fid < (select next from fid_counter where id = 1)
          or exists (select from explicit_fid where explicit_fid.fid = found.fid))`,
    values: [devid, fids],
  })
  return rows.map(({ fid, slot, size, devids }) => ({
    fid,
    owner: slot === null ? undefined : { slot, size, devids },
  }))
}

export interface SweepRow {
  readonly devid: number
  readonly position: number
  readonly startedAt: Date | null
  readonly finishedAt: Date | null
  readonly files: number
  readonly wrong: number
  readonly extra: number
  readonly removed: number
  readonly lastFiles: number
  readonly lastExtra: number
}

/** All of them, by device. */
export async function listSweeps(db: Db): Promise<SweepRow[]> {
  const { rows } = await db.query<SweepRow>({
    name: 'sweep.list',
    text: `
      select devid, position, started_at as "startedAt", finished_at as "finishedAt", files, wrong,
        extra, removed, last_files as "lastFiles", last_extra as "lastExtra"
      from sweep order by devid`,
  })
  return rows
}
