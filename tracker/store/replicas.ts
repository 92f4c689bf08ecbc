/** What a file's row says about its replicas, changed in ways that a late or second try cannot spoil. */
import type { Db } from './db.ts'
import { allDevids } from './deletions.ts'
import { countedFiles } from './drains.ts'
import type { FileId } from './files.ts'
import { unindexed } from './unindexed.ts'

/**
 * Takes the replica on `devid` out of a file's row and queues its bytes for deletion, in one
 * statement. False, and nothing is done, unless the row still names it and the one on `verified`,
 * which the caller has just seen to be good: of two who would each take the copy that the other
 * relies on, one is refused. With `before` the row has to name exactly those devices.
 */
export async function dropReplica(
  db: Db,
  { fid, slot }: FileId,
  {
    devid,
    verified,
    before,
  }: {
    readonly devid: number
    readonly verified: number
    readonly before?: readonly number[]
  },
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'replicas.drop',
    text: `
      with dropped as (
        update file set devids = array_remove(devids, $3::int)
        where fid = $1 and slot = $2 and devids @> array[$3::int, $4::int] and $3::int <> $4::int
          and ($5::int[] is null or devids = $5)
        returning fid, slot
      )
      insert into delete_job (fid, slot, devids, next_try)
      select fid, slot, array[$3::int], now() from dropped
      on conflict (fid, slot) do update set
        devids = ${allDevids},
        next_try = least(delete_job.next_try, excluded.next_try)`,
    values: [fid, slot, devid, verified, before ?? null],
  })
  return rowCount > 0
}

/** What is found out about a file's replicas. */
export interface Correction {
  /** What the row has to say still, or nothing is changed. */
  readonly before: readonly number[]
  readonly devids: readonly number[]
  /** Digest to store, by the class's hashtype: 1 MD5, 2 SHA-1. */
  readonly checksum?: { readonly hashtype: number; readonly digest: Buffer } | undefined
  readonly sha256?: Buffer | undefined
}

const corrected = `
  devids = $4::int[],
  hashtype = coalesce($5, hashtype),
  checksum = coalesce($6, checksum),
  sha256 = coalesce(sha256, $7)`

/**
 * Corrects the row of a file, also of one that can be had back: the deletion that waits for that is
 * told of its replicas, too. False when they are others by now, or the file is gone.
 */
export async function correctReplicas(
  db: Db,
  { fid, slot }: FileId,
  { before, devids, checksum, sha256 }: Correction,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'replicas.correct',
    text: `
      with live as (
        update file set ${corrected}
        where fid = $1 and slot = $2 and ${unindexed('devids = $3::int[]')}
        returning fid
      ), deleted as (
        update trash set ${corrected}
        where fid = $1 and slot = $2 and ${unindexed('devids = $3::int[] and expires_at > now()')}
        returning fid
      ), told as (
        update delete_job set devids = $4::int[] || array(
          select devid from unnest(delete_job.devids) as devid where devid <> all ($3 || $4))
        from deleted where delete_job.fid = $1 and delete_job.slot = $2
      )
      select from live union all select from deleted`,
    values: [
      fid,
      slot,
      before,
      devids,
      checksum?.hashtype ?? null,
      checksum?.digest ?? null,
      sha256 ?? null,
    ],
  })
  return rowCount > 0
}

/** Has replication look at files, after `seconds` at the latest. */
export async function queueReplications(
  db: Db,
  files: readonly FileId[],
  seconds: number,
): Promise<void> {
  await db.query({
    name: 'replicas.queue_replications',
    text: `
      insert into replicate_job (fid, slot, next_try)
      select fid, slot, now() + make_interval(secs => $3)
      from unnest($1::bigint[], $2::smallint[]) as file (fid, slot)
      on conflict (fid, slot) do update set
        next_try = least(replicate_job.next_try, excluded.next_try)`,
    values: [files.map(({ fid }) => fid), files.map(({ slot }) => slot), seconds],
  })
}

/**
 * Devices on which bytes of contents wait for their deletion, by fid: no place for a new replica. When
 * a file is renamed its deletions stay in the slot where they were queued, so all slots are looked at.
 */
async function listLeaving(db: Db, fids: readonly number[]): Promise<Map<number, number[]>> {
  const { rows } = await db.query<{ fid: number; devids: number[] }>({
    name: 'replicas.list_leaving',
    text: 'select fid, devids from delete_job where fid = any($1::bigint[])',
    values: [fids],
  })
  const leaving = new Map<number, number[]>()
  for (const { fid, devids } of rows) leaving.set(fid, [...(leaving.get(fid) ?? []), ...devids])
  return leaving
}

/** Devices on which bytes of a content wait for their deletion: no place for a new replica. */
export async function findLeaving(db: Db, fid: number): Promise<number[]> {
  return (await listLeaving(db, [fid])).get(fid) ?? []
}

/**
 * Forgets the replicas on a device that is lost for up to `limit` files, also of those in a trash, and
 * returns how many. Their replication is queued by the same statement, so that no crash leaves one
 * with neither.
 */
export async function forgetDevice(
  db: Db,
  { devid, limit }: { readonly devid: number; readonly limit: number },
): Promise<number> {
  const { rows: files } = await db.query<FileId>({
    name: 'replicas.find_on_device',
    text: `
      select fid, slot from file where devids @> array[$1::int]
      union all
      select fid, slot from trash where devids @> array[$1::int]
      limit $2`,
    values: [devid, limit],
  })
  if (files.length === 0) return 0
  await db.query({
    name: 'replicas.forget',
    text: `
      with lost as (
        select * from unnest($1::bigint[], $2::smallint[]) as l (fid, slot)
      ), live as (
        update file set devids = array_remove(devids, $3::int)
        from lost where file.fid = lost.fid and file.slot = lost.slot and devids @> array[$3::int]
        returning file.fid, file.slot
      ), deleted as (
        update trash set devids = array_remove(devids, $3::int)
        from lost where trash.fid = lost.fid and trash.slot = lost.slot and devids @> array[$3::int]
        returning trash.fid, trash.slot
      )
      insert into replicate_job (fid, slot, next_try)
      select fid, slot, now() + interval '1 second'
      from (select * from live union select * from deleted) as forgotten
      on conflict (fid, slot) do update set
        next_try = least(replicate_job.next_try, excluded.next_try)`,
    values: [files.map(({ fid }) => fid), files.map(({ slot }) => slot), devid],
  })
  return files.length
}

/** How many replications wait; counts no further than `atMost`. */
export async function countReplications(db: Db, atMost: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    name: 'replicas.count_replications',
    text: 'select count(*) as count from (select from replicate_job limit $1) as part',
    values: [atMost],
  })
  return rows[0]!.count
}

/** A file that somebody is to make copies of. */
export interface ReplicaState extends FileId {
  domainId: number
  classId: number
  size: number
  devids: number[]
  sha256: Buffer | null
  /** Algorithm of `checksum`: 1 MD5, 2 SHA-1. */
  hashtype: number | null
  checksum: Buffer | null
  /** Devices on which bytes of it wait for their deletion: no place for a new replica. */
  leaving: number[]
  /** It is deleted and can be had back. */
  inTrash: boolean
}

/** The live files among contents, and those that can be had back, each under the slot that is named with it. */
export async function listReplicaStates(db: Db, ids: readonly FileId[]): Promise<ReplicaState[]> {
  const fids = ids.map(({ fid }) => fid)
  const { rows } = await db.query<Omit<ReplicaState, 'leaving'>>({
    name: 'replicas.list_states',
    text: `
      select file.fid, file.slot, domain_id as "domainId", class_id as "classId", size, devids,
        sha256, hashtype, checksum, false as "inTrash"
      from unnest($1::bigint[], $2::smallint[]) as id (fid, slot)
      join file on file.fid = id.fid and file.slot = id.slot
      union all
      select trash.fid, trash.slot, domain_id, class_id, size, devids,
        sha256, hashtype, checksum, true
      from unnest($1::bigint[], $2::smallint[]) as id (fid, slot)
      join trash on trash.fid = id.fid and trash.slot = id.slot
        and ${unindexed('expires_at > now()')}`,
    values: [fids, ids.map(({ slot }) => slot)],
  })
  // Behind the rows, so that what one of them has just dropped is among it.
  const leaving = await listLeaving(db, fids)
  // Of a file in the trash all bytes wait for their deletion.
  return rows.map(row => ({
    ...row,
    leaving: (leaving.get(row.fid) ?? []).filter(devid => !row.devids.includes(devid)),
  }))
}

/** A copy that was made and verified under the lease of a claimed replication. */
export interface NewReplica extends FileId {
  readonly devid: number
  readonly lease: string
  readonly sha256: Buffer | null
  readonly checksum: { readonly hashtype: number; readonly digest: Buffer } | null
  /** The job is done with it. */
  readonly last: boolean
}

/** What two of them in one statement must not have in common. */
export const replicaKeys = ({ fid }: NewReplica): string[] => [String(fid)]

/** Whoever made a copy has the `job` still. */
const leased = unindexed('job.next_try = made.lease::timestamptz and job.next_try > now()')

/** What a copy that was `made` changes in its row of `table`. */
const withReplica = (table: 'file' | 'trash'): string => `
  devids = case when made.devid = any(${table}.devids) then ${table}.devids
    else ${table}.devids || made.devid end,
  sha256 = coalesce(${table}.sha256, decode(made.sha256, 'hex')),
  hashtype = case when ${table}.checksum is null then made.hashtype else ${table}.hashtype end,
  checksum = coalesce(${table}.checksum, decode(made.checksum, 'hex'))`

/**
 * Puts copies into their files' rows, each with the end of its job where it is the last one; those of
 * a file in the trash go with its other bytes. The devices of each file then; undefined, and nothing
 * is done, where the file is gone or filed elsewhere, the lease has run out, or bytes on that device
 * wait for their deletion.
 */
export async function recordReplicas(
  db: Db,
  replicas: readonly NewReplica[],
): Promise<(number[] | undefined)[]> {
  const { rows } = await db.query<{ at: number; devids: number[] }>({
    name: 'replicas.record',
    text: `
      with made as (
        select * from unnest($1::bigint[], $2::smallint[], $3::int[], $4::text[], $5::text[],
          $6::smallint[], $7::text[], $8::bool[])
          with ordinality as m (fid, slot, devid, lease, sha256, hashtype, checksum, is_last, at)
      ), recorded as (
        update file set ${withReplica('file')}
        from made
        join replicate_job as job on job.fid = made.fid and job.slot = made.slot
        where file.fid = made.fid and file.slot = made.slot
          and ${leased}
          and not exists (
            select from delete_job where delete_job.fid = made.fid and delete_job.slot = made.slot
              and delete_job.devids @> array[made.devid])
        returning at, file.devids
      ), kept as (
        update trash set ${withReplica('trash')}
        from made
        join replicate_job as job on job.fid = made.fid and job.slot = made.slot
        join delete_job as waiting on waiting.fid = made.fid and waiting.slot = made.slot
        where trash.fid = made.fid and trash.slot = made.slot
          and ${unindexed('trash.expires_at > now()')}
          and ${leased}
          and (made.devid = any(trash.devids) or made.devid <> all(waiting.devids))
        returning at, trash.fid, trash.slot, made.devid, trash.devids
      ), booked as (
        update delete_job set devids = delete_job.devids || kept.devid
        from kept where delete_job.fid = kept.fid and delete_job.slot = kept.slot
          and kept.devid <> all(delete_job.devids)
      ), done as (
        select at, devids from recorded union all select at, devids from kept
      ), finished as (
        delete from replicate_job using made join done using (at)
        where is_last and replicate_job.fid = made.fid and replicate_job.slot = made.slot
          and ${unindexed('next_try = made.lease::timestamptz')}
      )
      select at, devids from done`,
    values: [
      replicas.map(({ fid }) => fid),
      replicas.map(({ slot }) => slot),
      replicas.map(({ devid }) => devid),
      replicas.map(({ lease }) => lease),
      replicas.map(({ sha256 }) => sha256?.toString('hex') ?? null),
      replicas.map(({ checksum }) => checksum?.hashtype ?? null),
      replicas.map(({ checksum }) => checksum?.digest.toString('hex') ?? null),
      replicas.map(({ last }) => last),
    ],
  })
  const found: (number[] | undefined)[] = Array.from({ length: replicas.length })
  for (const { at, devids } of rows) found[at - 1] = devids
  return found
}

/**
 * Live files with a replica on one of `devids`, their bytes, and how many of them have none on
 * `others`; no more than `countedFiles` are counted.
 */
export async function countCopies(
  db: Db,
  { devids, others }: { readonly devids: readonly number[]; readonly others: readonly number[] },
): Promise<{ files: number; bytes: number; lastCopies: number }> {
  const { rows } = await db.query<{ files: number; bytes: number; lastCopies: number }>({
    name: 'replicas.count_copies',
    text: `
      select count(*) as files, coalesce(sum(size), 0)::bigint as bytes,
        count(*) filter (where not devids && $2::int[]) as "lastCopies"
      from (select size, devids from file where devids && $1::int[] limit $3) as part`,
    values: [devids, others, countedFiles],
  })
  return rows[0]!
}
