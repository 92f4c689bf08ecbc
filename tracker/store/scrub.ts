/** Readings of all that is stored: the one that never ends, and those that were asked for. */
import { newestFid, type ContentScope } from './checks.ts'
import type { Db } from './db.ts'

export interface ScrubRow extends ContentScope {
  readonly id: number
  /** It begins again when it is through, and takes the time that is given for a round. */
  readonly continuous: boolean
  /** Files up to this one have been read. */
  readonly position: number
  /** The last one to read; null: the newest there is. */
  readonly endFid: number | null
  readonly startedAt: Date
  readonly finishedAt: Date | null
  /** Files, replicas and bytes that were read; replicas that were bad. */
  readonly files: number
  readonly replicas: number
  readonly bytes: number
  readonly bad: number
}

const columns = `
  id, continuous, domain_id as "domainId", class_id as "classId", devid, position,
  end_fid as "endFid", started_at as "startedAt", finished_at as "finishedAt", files, replicas,
  bytes, bad`

export interface ScrubStep extends ScrubRow {
  /** Seconds since the round began. */
  readonly seconds: number
  /** The newest file of now. */
  readonly maxFid: number
}

/** Claims the reading whose step is due first, for `seconds`. */
export async function claimScrub(db: Db, seconds: number): Promise<ScrubStep | undefined> {
  const { rows } = await db.query<ScrubStep>({
    name: 'scrub.claim',
    text: `
      update scrub set next_step = now() + make_interval(secs => $1)
      where id = (
          select id from scrub where next_step <= now() and (continuous or finished_at is null)
          order by next_step limit 1
        ) and next_step <= now()
      returning ${columns}, extract(epoch from now() - started_at)::float8 as seconds,
        ${newestFid} as "maxFid"`,
    values: [seconds],
  })
  return rows[0]
}

/** Goes on with a claim for `seconds` more; with one that has run out it does not. */
export async function extendScrub(db: Db, id: number, seconds: number): Promise<void> {
  await db.query({
    name: 'scrub.extend',
    text: `
      update scrub set next_step = now() + make_interval(secs => $2)
      where id = $1 and next_step > now()`,
    values: [id, seconds],
  })
}

export interface ScrubProgress {
  readonly position: number
  readonly files: number
  readonly replicas: number
  readonly bytes: number
  readonly bad: number
  /** Seconds until the next step. */
  readonly rest: number
}

/** Notes what a step has read. */
export async function advanceScrub(db: Db, id: number, step: ScrubProgress): Promise<void> {
  await db.query({
    name: 'scrub.advance',
    text: `
      update scrub set position = $2, files = files + $3, replicas = replicas + $4,
        bytes = bytes + $5, bad = bad + $6, next_step = now() + make_interval(secs => $7)
      where id = $1`,
    values: [id, step.position, step.files, step.replicas, step.bytes, step.bad, step.rest],
  })
}

/** Ends a reading; the one that never ends begins its next round, `rest` seconds later. */
export async function finishScrub(db: Db, id: number, rest: number): Promise<void> {
  await db.query({
    name: 'scrub.finish',
    text: `
      update scrub set
        finished_at = now(),
        started_at = case when continuous then now() else started_at end,
        position = case when continuous then 0 else position end,
        next_step = now() + make_interval(secs => $2)
      where id = $1`,
    values: [id, rest],
  })
}

/** Asks for a reading of what there is now; returns it. */
export async function insertScrub(
  tx: Db,
  { domainId, classId, devid }: ContentScope,
): Promise<ScrubRow> {
  const { rows } = await tx.query<ScrubRow>({
    name: 'scrub.insert',
    text: `
      insert into scrub (domain_id, class_id, devid, end_fid)
      select $1, $2, $3, ${newestFid}
      returning ${columns}`,
    values: [domainId, classId, devid],
  })
  return rows[0]!
}

/** Calls one off that was asked for, or forgets it. False when there is none. */
export async function removeScrub(tx: Db, id: number): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'scrub.remove',
    text: 'delete from scrub where id = $1 and not continuous',
    values: [id],
  })
  return rowCount > 0
}

/** All of them: the one that never ends first, then the newest. */
export async function listScrubs(db: Db): Promise<ScrubRow[]> {
  const { rows } = await db.query<ScrubRow>({
    name: 'scrub.list',
    text: `select ${columns} from scrub order by continuous desc, id desc limit 100`,
  })
  return rows
}
