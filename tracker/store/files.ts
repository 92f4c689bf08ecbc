/** Live files: one row per key. Every hot statement names the key's slot. */
import type { Metadata } from '../../common/protocol.ts'
import type { Caller } from './audit.ts'
import { createBatcher } from './batch.ts'
import type { Db } from './db.ts'
import { slotOf } from './slot.ts'

/** A key of a domain, and the slot that follows from them. */
export interface FileKey {
  readonly domainId: number
  readonly key: Buffer
  readonly slot: number
}

/** Puts the slot to a key. */
export function fileKey(domainId: number, key: Buffer): FileKey {
  return { domainId, key, slot: slotOf(domainId, key) }
}

/** A content and the slot it is filed under. */
export interface FileId {
  readonly fid: number
  readonly slot: number
}

export interface FileRow extends FileId {
  domainId: number
  classId: number
  key: Buffer
  size: number
  devids: number[]
  sha256: Buffer | null
  /** Digest by the class's hashtype: 1 MD5, 2 SHA-1. */
  hashtype: number | null
  checksum: Buffer | null
  contentType: string | null
  metadata: Metadata | null
  createdAt: Date
  modifiedAt: Date
}

const columns = `
  fid, slot, domain_id as "domainId", class_id as "classId", key, size, devids, sha256,
  hashtype, checksum, content_type as "contentType", metadata,
  created_at as "createdAt", modified_at as "modifiedAt"`

/** Most lookups in one statement, and statements under way at once. */
const lookups = { limit: 200, parallel: 2 }

/** Returns a function that finds the live file of a key; lookups that arrive together share a query. */
export function createFileFinder(db: Db): (key: FileKey) => Promise<FileRow | undefined> {
  return createBatcher<FileKey, FileRow | undefined>({
    ...lookups,
    async run(keys) {
      const { rows } = await db.query<FileRow & { at: number }>({
        name: 'files.find',
        text: `
          select wanted.at, ${columns}
          from unnest($1::int[], $2::bytea[], $3::smallint[])
            with ordinality as wanted (wanted_domain, wanted_key, wanted_slot, at)
          join file on domain_id = wanted_domain and key = wanted_key and slot = wanted_slot`,
        values: [
          keys.map(({ domainId }) => domainId),
          keys.map(({ key }) => key),
          keys.map(({ slot }) => slot),
        ],
      })
      const found = new Map(rows.map(({ at, ...row }) => [at, row]))
      return keys.map((_, i) => found.get(i + 1))
    },
  })
}

/** The live file with this content, whatever its key is called by now. */
export async function findFileByFid(db: Db, fid: number): Promise<FileRow | undefined> {
  const { rows } = await db.query<FileRow>({
    name: 'files.find_by_fid',
    text: `select ${columns} from file where fid = $1`,
    values: [fid],
  })
  return rows[0]
}

export interface FileRange {
  readonly domainId: number
  /** First key that may be returned; `exclusive` leaves it out. */
  readonly from: Buffer
  readonly exclusive: boolean
  /** Every returned key is below this one; undefined: no bound. */
  readonly below: Buffer | undefined
  readonly limit: number
}

/** Files of a range of keys in byte order. */
export async function listFiles(
  db: Db,
  { domainId, from, exclusive, below, limit }: FileRange,
): Promise<FileRow[]> {
  const { rows } = await db.query<FileRow>({
    name: exclusive ? 'files.list_after' : 'files.list_from',
    text: `
      select ${columns} from file
      where domain_id = $1 and key ${exclusive ? '>' : '>='} $2 and ($3::bytea is null or key < $3)
      order by key limit $4`,
    values: [domainId, from, below ?? null, limit],
  })
  return rows
}

/** Files of all domains by their fids, ascending, from behind `after`. */
export async function listFilesByFid(
  db: Db,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<FileRow[]> {
  const { rows } = await db.query<FileRow>({
    name: 'files.list_by_fid',
    text: `select ${columns} from file where fid > $1 order by fid limit $2`,
    values: [after, limit],
  })
  return rows
}

/** Takes a key away at once and queues its bytes for deletion. False when there is no such key. */
export async function removeFile(
  db: Db,
  { domainId, key, slot }: FileKey,
  { graceSeconds, caller }: { graceSeconds: number; caller: Caller },
): Promise<boolean> {
  const { rows } = await db.query<{ fid: number }>({
    name: 'files.remove',
    text: `
      with gone as (
        delete from file where domain_id = $1 and key = $2 and slot = $3
        returning fid, slot, devids
      ), queued as (
        insert into delete_job (fid, slot, devids, next_try)
        select fid, slot, devids, now() + make_interval(secs => $4) from gone
        on conflict (fid, slot) do nothing
      ), noted as (
        insert into audit (slot, actor, address, request_id, action, domain_id, fid, key)
        select slot, $5, $6, $7, 'delete', $1, fid, $2 from gone
      )
      select fid from gone`,
    values: [
      domainId,
      key,
      slot,
      graceSeconds,
      caller.actor,
      caller.address,
      caller.requestId ?? null,
    ],
  })
  return rows.length > 0
}

/**
 * Gives a file another key, with the jobs that wait for it. Undefined when `from` is not there;
 * throws a unique violation when `to` is taken.
 */
export async function moveFile(
  db: Db,
  from: FileKey,
  to: Pick<FileKey, 'key' | 'slot'>,
): Promise<FileRow | undefined> {
  const { rows } = await db.query<FileRow>({
    name: 'files.move',
    text: `
      with moved as (
        delete from file where domain_id = $1 and key = $2 and slot = $3 returning *
      ), jobs as (
        delete from replicate_job using moved
        where replicate_job.fid = moved.fid and replicate_job.slot = moved.slot
        returning replicate_job.*
      ), requeued as (
        insert into replicate_job (fid, slot, next_try, queued_at, attempts, last_error)
        select fid, $5::smallint, next_try, queued_at, attempts, last_error from jobs
        on conflict (fid, slot) do nothing
      )
      insert into file (domain_id, key, slot, fid, class_id, size, devids, sha256, hashtype,
        checksum, content_type, metadata, created_at, modified_at)
      select domain_id, $4::bytea, $5::smallint, fid, class_id, size, devids, sha256, hashtype,
        checksum, content_type, metadata, created_at, now()
      from moved
      returning ${columns}`,
    values: [from.domainId, from.key, from.slot, to.key, to.slot],
  })
  return rows[0]
}

export interface FileChange {
  readonly classId?: number
  readonly contentType?: string | null
  readonly metadata?: Metadata
}

/** Changes class, content type or metadata; a new class queues the file for a look at its copies. */
export async function updateFile(
  db: Db,
  { domainId, key, slot }: FileKey,
  change: FileChange,
): Promise<FileRow | undefined> {
  const { rows } = await db.query<FileRow>({
    name: 'files.update',
    text: `
      with old as (
        select class_id from file where domain_id = $1 and key = $2 and slot = $3
      ), changed as (
        update file set
          class_id = coalesce($4, class_id),
          content_type = case when $5 then $6 else content_type end,
          metadata = coalesce($7, metadata),
          modified_at = now()
        where domain_id = $1 and key = $2 and slot = $3
        returning ${columns}, slot as job_slot
      ), queued as (
        insert into replicate_job (fid, slot, next_try)
        select fid, job_slot, now() from changed, old where changed."classId" <> old.class_id
        on conflict (fid, slot) do update set next_try = least(replicate_job.next_try, now())
      )
      select * from changed`,
    values: [
      domainId,
      key,
      slot,
      change.classId ?? null,
      change.contentType !== undefined,
      change.contentType ?? null,
      change.metadata ?? null,
    ],
  })
  return rows[0]
}

/**
 * Notes a replica that was copied and verified; the row as it is then, or undefined when the fid
 * is not live under this slot any more (deleted, replaced or renamed meanwhile).
 */
export async function addReplica(
  db: Db,
  { fid, slot }: FileId,
  { devid, sha256 }: { devid: number; sha256: Buffer | null },
): Promise<FileRow | undefined> {
  const { rows } = await db.query<FileRow>({
    name: 'files.add_replica',
    text: `
      update file set
        devids = case when $3 = any(devids) then devids else devids || $3::int end,
        sha256 = coalesce(sha256, $4)
      where fid = $1 and slot = $2
      returning ${columns}`,
    values: [fid, slot, devid, sha256],
  })
  return rows[0]
}

/** Up to this many files are counted; above it the database's own statistics are good enough. */
const countedFiles = 10_000

/** How many files there are: exact for few, an estimate for many. */
export async function countFiles(db: Db): Promise<number> {
  const { rows } = await db.query<{ counted: number; estimated: number }>({
    name: 'files.count',
    text: `
      select (select count(*) from (select from file limit $1) as part) as counted,
        (select reltuples::bigint from pg_class where oid = 'file'::regclass) as estimated`,
    values: [countedFiles],
  })
  const { counted, estimated } = rows[0]!
  return counted < countedFiles ? counted : Math.max(counted, estimated)
}
