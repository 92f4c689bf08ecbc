/** The files that wait for fsck. */
import type { Db } from './db.ts'
import type { FileId, FileRow } from './files.ts'
import { unindexed } from './unindexed.ts'

export interface CheckJob extends FileId {
  /** The copies are looked at even while fsck judges only their number and place. */
  readonly whole: boolean
  /** All bytes of the copies are read. */
  readonly read: boolean
}

/** Seconds after which a claimed check falls due again. */
export const leaseSeconds = 120
/** The same for one that cannot be done now, as in MogileFS. */
export const stallSeconds = 1000

/** Claims up to `limit` due checks, oldest due first, those of a moment by fid. */
export async function claimChecks(db: Db, limit: number): Promise<CheckJob[]> {
  const due = await db.query<FileId>({
    name: 'checks.due',
    text: 'select slot, fid from check_job where next_try <= now() order by next_try, fid limit $1',
    values: [limit],
  })
  if (due.rows.length === 0) return []
  const { rows } = await db.query<CheckJob>({
    name: 'checks.claim',
    text: `
      update check_job
      set next_try = now() + make_interval(secs => $3), attempts = attempts + 1
      from unnest($1::smallint[], $2::bigint[]) as due (slot, fid)
      where check_job.slot = due.slot and check_job.fid = due.fid
        and ${unindexed('next_try <= now()')}
      returning check_job.fid, check_job.slot, whole, read`,
    values: [due.rows.map(r => r.slot), due.rows.map(r => r.fid), leaseSeconds],
  })
  return rows
}

/** Goes on with claims for `leaseSeconds` more; with those that have run out it does not. */
export async function extendChecks(db: Db, jobs: readonly FileId[]): Promise<void> {
  await db.query({
    name: 'checks.extend',
    text: `
      update check_job set next_try = greatest(next_try, now() + make_interval(secs => $3))
      from unnest($1::bigint[], $2::smallint[]) as held (fid, slot)
      where check_job.fid = held.fid and check_job.slot = held.slot
        and ${unindexed('next_try > now()')}`,
    values: [jobs.map(({ fid }) => fid), jobs.map(({ slot }) => slot), leaseSeconds],
  })
}

/** Takes checks out of the queue. */
export async function removeChecks(db: Db, jobs: readonly FileId[]): Promise<void> {
  if (jobs.length === 0) return
  await db.query({
    name: 'checks.remove',
    text: `
      delete from check_job using unnest($1::bigint[], $2::smallint[]) as done (fid, slot)
      where check_job.fid = done.fid and check_job.slot = done.slot`,
    values: [jobs.map(({ fid }) => fid), jobs.map(({ slot }) => slot)],
  })
}

/** Puts a check back that cannot be done now, with the reason as a sentence for people. */
export async function stallCheck(
  db: Db,
  { fid, slot }: FileId,
  { seconds, error }: { readonly seconds: number; readonly error: string },
): Promise<void> {
  await db.query({
    name: 'checks.stall',
    text: `
      update check_job set next_try = now() + make_interval(secs => $4), last_error = $3
      where fid = $1 and slot = $2`,
    values: [fid, slot, error, seconds],
  })
}

/** Has files checked, whether fsck runs or not, with a look at every copy, or all their bytes read. */
export async function queueWholeChecks(
  db: Db,
  files: readonly FileId[],
  { read = false }: { readonly read?: boolean } = {},
): Promise<void> {
  if (files.length === 0) return
  await db.query({
    name: 'checks.queue_whole',
    text: `
      insert into check_job (fid, slot, next_try, whole, read)
      select fid, slot, now(), true, $3
      from unnest($1::bigint[], $2::smallint[]) as file (fid, slot)
      on conflict (fid, slot) do update set
        whole = true, read = check_job.read or excluded.read`,
    values: [files.map(({ fid }) => fid), files.map(({ slot }) => slot), read],
  })
}

/** What fsck and scrub need of a file's row. */
export interface StoredContent extends Pick<
  FileRow,
  'fid' | 'slot' | 'domainId' | 'classId' | 'size' | 'devids' | 'sha256' | 'hashtype' | 'checksum'
> {
  /** It is deleted and can be had back. */
  readonly inTrash: boolean
}

const columns = `
  fid, slot, domain_id as "domainId", class_id as "classId", size, devids, sha256, hashtype, checksum`

const canBeHadBack = unindexed('expires_at > now()')

/** The newest of the files that are checked; 0: there is none. */
export const newestFid = `
  coalesce(greatest((select max(fid) from file), (select max(fid) from trash)), 0)`

/** The live ones among contents and those that can be had back, in no order. */
export async function listContents(db: Db, fids: readonly number[]): Promise<StoredContent[]> {
  const { rows } = await db.query<StoredContent>({
    name: 'checks.list_contents',
    text: `
      select ${columns}, false as "inTrash" from file where fid = any($1::bigint[])
      union all
      select ${columns}, true from trash where fid = any($1::bigint[]) and ${canBeHadBack}`,
    values: [fids],
  })
  return rows
}

/** Which files; what is undefined stands for all. */
export interface ContentScope {
  readonly domainId: number | null
  readonly classId: number | null
  readonly devid: number | null
}

/** Contents, live or in the trash, behind `after`, up to `end` where one is given, by fid. */
export async function listContentsAfter(
  db: Db,
  scope: ContentScope,
  { after, end, limit }: { after: number; end: number | null; limit: number },
): Promise<StoredContent[]> {
  const part = `
    fid > $1 and ($2::bigint is null or fid <= $2)
      and ($3::int is null or domain_id = $3) and ($4::int is null or class_id = $4)
      and ($5::int is null or devids @> array[$5::int])`
  const { rows } = await db.query<StoredContent>({
    name: 'checks.list_contents_after',
    text: `
      (select ${columns}, false as "inTrash" from file where ${part} order by fid limit $6)
      union all
      (select ${columns}, true from trash where ${part} and ${canBeHadBack} order by fid limit $6)
      order by fid limit $6`,
    values: [after, end, scope.domainId, scope.classId, scope.devid, limit],
  })
  return rows
}

/**
 * Notes what is wrong with a file that cannot be mended; what was noted before it was renamed goes.
 * False when that is known already.
 */
export async function noteDamage(db: Db, { fid, slot }: FileId, why: string): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'checks.note_damage',
    text: `
      with elsewhere as (
        delete from damage where fid = $1 and slot <> $2
      )
      insert into damage (fid, slot, why) values ($1, $2, $3)
      on conflict (fid, slot) do update set why = excluded.why where damage.why <> excluded.why`,
    values: [fid, slot, why],
  })
  return rowCount > 0
}

/** Forgets what was wrong with files that are in order, or gone. */
export async function forgetDamage(db: Db, fids: readonly number[]): Promise<void> {
  if (fids.length === 0) return
  await db.query({
    name: 'checks.forget_damage',
    text: 'delete from damage where fid = any($1::bigint[])',
    values: [fids],
  })
}

/** Files of which so much is looked at in one statement. */
const damagePage = 1_000

/** Forgets what was wrong with files that are gone for good. */
export async function forgetDamageOfGone(db: Db): Promise<void> {
  for (let after = 0, size = damagePage; size === damagePage;) {
    const { rows: noted } = await db.query<{ fid: number }>({
      name: 'checks.list_damaged',
      text: 'select fid from damage where fid > $1 order by fid limit $2',
      values: [after, damagePage],
    })
    const fids = noted.map(({ fid }) => fid)
    const { rows: left } = await db.query<{ fid: number }>({
      name: 'checks.list_left',
      text: `
        select fid from file where fid = any($1::bigint[])
        union all select fid from trash where fid = any($1::bigint[])`,
      values: [fids],
    })
    const kept = new Set(left.map(({ fid }) => fid))
    await forgetDamage(
      db,
      fids.filter(fid => !kept.has(fid)),
    )
    size = fids.length
    after = fids.at(-1) ?? after
  }
}

/** A file that cannot be mended. */
export interface DamagedFile {
  readonly fid: number
  readonly domainId: number
  readonly key: Buffer
  readonly size: number
  readonly devids: number[]
  readonly foundAt: Date
  readonly why: string
}

/** Files that cannot be mended, from behind `after`, by fid. */
export async function listDamage(
  db: Db,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<DamagedFile[]> {
  const { rows } = await db.query<DamagedFile>({
    name: 'checks.list_damage',
    text: `
      select file.fid, domain_id as "domainId", key, size, devids, found_at as "foundAt", why
      from damage join file on file.fid = damage.fid
      where damage.fid > $1 order by damage.fid limit $2`,
    values: [after, limit],
  })
  return rows
}
