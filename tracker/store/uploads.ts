/** Open uploads, and the one statement that turns an upload into a live file. */
import type { Durability, Metadata } from '../../common/protocol/files.ts'
import { byteaArray, numberArray } from './arrays.ts'
import type { Caller } from './audit.ts'
import type { Db } from './db.ts'
import { allDevids } from './deletions.ts'
import type { FileId, FileKey } from './files.ts'
import { unindexed } from './unindexed.ts'

/** What a commit answered, beside what the upload's row says. */
export interface CommitAnswer {
  readonly size: number
  readonly sha256?: string
  readonly devids: number[]
  readonly copies: number
  readonly reduced?: string
}

export interface UploadRow extends FileId {
  domainId: number
  classId: number
  key: Buffer
  /** As announced; null: not announced. */
  size: number | null
  devids: number[]
  durability: Durability
  contentType: string | null
  metadata: Metadata | null
  expiresAt: Date
  expired: boolean
  committedAt: Date | null
  answer: CommitAnswer | null
}

const columns = `
  fid, slot, domain_id as "domainId", class_id as "classId", key, size, devids, durability,
  content_type as "contentType", metadata, expires_at as "expiresAt", expires_at <= now() as expired,
  committed_at as "committedAt", answer`

export interface NewUpload extends FileKey {
  readonly fid: number
  readonly classId: number
  readonly size: number | null
  readonly devids: readonly number[]
  readonly durability: Durability
  readonly contentType: string | null
  readonly metadata: Metadata | null
  readonly seconds: number
}

/**
 * Notes uploads that may each be committed within its `seconds`; returns when that ends, in order,
 * or undefined where the domain has been removed meanwhile.
 */
export async function insertUploads(
  db: Db,
  uploads: readonly NewUpload[],
): Promise<(Date | undefined)[]> {
  const { rows } = await db.query<{ fid: number; expiresAt: Date }>({
    name: 'uploads.insert',
    text: `
      insert into upload (fid, slot, domain_id, class_id, key, size, devids, durability,
        content_type, metadata, expires_at)
      select w.fid, w.slot, w.domain_id, w.class_id, w.key, w.size, w.devids::int[], w.durability,
        w.content_type, w.metadata, now() + make_interval(secs => w.seconds)
      from unnest($1::bigint[], $2::smallint[], $3::int[], $4::int[], $5::bytea[], $6::bigint[],
          $7::text[], $8::text[], $9::text[], $10::jsonb[], $11::float8[])
        as w (fid, slot, domain_id, class_id, key, size, devids, durability, content_type, metadata,
          seconds)
      join domain on domain.id = w.domain_id
      returning fid, expires_at as "expiresAt"`,
    values: [
      numberArray(uploads.map(u => u.fid)),
      numberArray(uploads.map(u => u.slot)),
      numberArray(uploads.map(u => u.domainId)),
      numberArray(uploads.map(u => u.classId)),
      byteaArray(uploads.map(u => u.key)),
      numberArray(uploads.map(u => u.size)),
      uploads.map(u => numberArray(u.devids)),
      uploads.map(u => u.durability),
      uploads.map(u => u.contentType),
      uploads.map(u => u.metadata),
      numberArray(uploads.map(u => u.seconds)),
    ],
  })
  const ends = new Map(rows.map(({ fid, expiresAt }) => [fid, expiresAt]))
  return uploads.map(({ fid }) => ends.get(fid))
}

/** Uploads in order; undefined where there is none. */
export async function findUploads(
  db: Db,
  ids: readonly FileId[],
): Promise<(UploadRow | undefined)[]> {
  const { rows } = await db.query<UploadRow>({
    name: 'uploads.find',
    text: `
      select ${columns}
      from unnest($1::bigint[], $2::smallint[]) as wanted (fid, slot) join upload using (fid, slot)`,
    values: [numberArray(ids.map(({ fid }) => fid)), numberArray(ids.map(({ slot }) => slot))],
  })
  const found = new Map(rows.map(row => [row.fid, row]))
  return ids.map(({ fid }) => found.get(fid))
}

/** An upload that can be closed. */
export type OpenUpload = Pick<
  UploadRow,
  'fid' | 'slot' | 'domainId' | 'classId' | 'key' | 'devids' | 'expiresAt' | 'expired'
>

/** Open uploads by their fids alone, as the line protocol names them; undefined where there is none. */
export async function findOpenUploads(
  db: Db,
  fids: readonly number[],
): Promise<(OpenUpload | undefined)[]> {
  const { rows } = await db.query<OpenUpload>({
    name: 'uploads.find_open',
    text: `
      select fid, slot, domain_id as "domainId", class_id as "classId", key, devids,
        expires_at as "expiresAt", expires_at <= now() as expired
      from upload where fid = any($1::bigint[]) and committed_at is null`,
    values: [numberArray(fids)],
  })
  const found = new Map(rows.map(row => [row.fid, row]))
  return fids.map(fid => found.get(fid))
}

export interface Commit {
  readonly upload: FileId
  /** The final key; the line protocol may close under another one than it opened. */
  readonly file: FileKey
  readonly answer: CommitAnswer
  /** Digest by the class's hashtype: 1 MD5, 2 SHA-1. */
  readonly checksum: { readonly hashtype: number; readonly digest: Buffer } | null
  /** Copies are still missing. */
  readonly replicate: boolean
  /** The commit may be repeated and is to get the same answer; otherwise the upload is forgotten. */
  readonly repeatable: boolean
  readonly graceSeconds: number
  readonly caller: Caller
}

/** What two commits in one statement must not have in common: the file they make, and the upload. */
export const commitKeys = ({ upload, file }: Commit): string[] => [
  `${file.domainId} ${file.key.toString('latin1')}`,
  `fid ${upload.fid}`,
]

/**
 * Makes open uploads the contents of their keys, in one statement: uploads closed, files in or
 * replaced, displaced contents to the delete queue, missing copies to the replicate queue, audit.
 * The upsert reads the displaced row under its lock, so of concurrent commits each displaces the one
 * before; the rows are taken in one order, so that statements do not wait for each other in a ring.
 * Returns the times of the commits, in order; undefined for an upload that is not open any more.
 */
export async function commitUploads(
  db: Db,
  commits: readonly Commit[],
): Promise<(Date | undefined)[]> {
  const { rows } = await db.query<{ fid: number; committedAt: Date }>({
    name: 'uploads.commit',
    text: `
      with wanted as (
        select * from unnest($1::bigint[], $2::smallint[], $3::int[], $4::bytea[], $5::smallint[],
            $6::jsonb[], $7::bigint[], $8::text[], $9::bytea[], $10::smallint[], $11::bytea[],
            $12::boolean[], $13::float8[], $14::text[], $15::int[], $16::text[], $17::text[],
            $18::boolean[])
          as w (fid, upload_slot, domain_id, key, slot, answer, size, devids, sha256, hashtype,
            checksum, replicate, grace, actor, token_id, address, request_id, repeatable)
      ), kept as (
        update upload
        set committed_at = now(), expires_at = now() + interval '1 hour', answer = wanted.answer
        from wanted
        where repeatable and upload.fid = wanted.fid and upload.slot = wanted.upload_slot
          and committed_at is null and ${unindexed('expires_at > now()')}
        returning upload.fid, upload.class_id, upload.content_type, upload.metadata
      ), forgotten as (
        delete from upload using wanted
        where not repeatable and upload.fid = wanted.fid and upload.slot = wanted.upload_slot
          and committed_at is null and ${unindexed('expires_at > now()')}
        returning upload.fid, upload.class_id, upload.content_type, upload.metadata
      ), closed as (
        select * from kept union all select * from forgotten
      ), stored as (
        insert into file (domain_id, key, slot, fid, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata)
        select wanted.domain_id, key, slot, fid, closed.class_id, wanted.size, devids::int[], sha256,
          hashtype, checksum, closed.content_type, closed.metadata
        from wanted join closed using (fid)
        order by wanted.domain_id, key
        on conflict (domain_id, key, slot) do update set
          replaced_fid = file.fid, replaced_devids = file.devids,
          fid = excluded.fid, class_id = excluded.class_id, size = excluded.size,
          devids = excluded.devids, sha256 = excluded.sha256, hashtype = excluded.hashtype,
          checksum = excluded.checksum, content_type = excluded.content_type,
          metadata = excluded.metadata, created_at = now(), modified_at = now()
        returning fid, slot, replaced_fid, replaced_devids, created_at
      ), displaced as (
        insert into delete_job (fid, slot, devids, next_try)
        select replaced_fid, stored.slot, replaced_devids, now() + make_interval(secs => grace)
        from stored join wanted using (fid) where replaced_fid is not null
        on conflict (fid, slot) do update set
          devids = ${allDevids},
          next_try = least(delete_job.next_try, excluded.next_try)
      ), queued as (
        insert into replicate_job (fid, slot, next_try)
        select fid, stored.slot, now() from stored join wanted using (fid) where replicate
        on conflict (fid, slot) do nothing
      ), noted as (
        insert into audit (slot, actor, token_id, address, request_id, action, domain_id, fid, key)
        select stored.slot, actor, token_id, address, request_id, 'put', domain_id, fid, key
        from stored join wanted using (fid)
      )
      select fid, created_at as "committedAt" from stored`,
    values: [
      numberArray(commits.map(c => c.upload.fid)),
      numberArray(commits.map(c => c.upload.slot)),
      numberArray(commits.map(c => c.file.domainId)),
      byteaArray(commits.map(c => c.file.key)),
      numberArray(commits.map(c => c.file.slot)),
      commits.map(c => (c.repeatable ? c.answer : null)),
      numberArray(commits.map(c => c.answer.size)),
      commits.map(c => numberArray(c.answer.devids)),
      byteaArray(
        commits.map(({ answer: { sha256 } }) => (sha256 ? Buffer.from(sha256, 'hex') : null)),
      ),
      numberArray(commits.map(c => c.checksum?.hashtype ?? null)),
      byteaArray(commits.map(c => c.checksum?.digest)),
      commits.map(c => c.replicate),
      numberArray(commits.map(c => c.graceSeconds)),
      commits.map(c => c.caller.actor),
      numberArray(commits.map(c => c.caller.tokenId ?? null)),
      commits.map(c => c.caller.address),
      commits.map(c => c.caller.requestId),
      commits.map(c => c.repeatable),
    ],
  })
  const times = new Map(rows.map(({ fid, committedAt }) => [fid, committedAt]))
  return commits.map(({ upload }) => times.get(upload.fid))
}

/**
 * Gives an open upload up: its row goes, and whatever was written to the offered devices, and to
 * those of `elsewhere`, is queued for deletion. False when it is not open.
 */
export async function abandonUpload(
  db: Db,
  { fid, slot }: FileId,
  graceSeconds: number,
  elsewhere: readonly number[] = [],
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'uploads.abandon',
    text: `
      with gone as (
        delete from upload where fid = $1 and slot = $2 and committed_at is null
        returning fid, slot, devids
      )
      insert into delete_job (fid, slot, devids, next_try)
      select fid, slot, devids || $4::int[], now() + make_interval(secs => $3) from gone
      on conflict (fid, slot) do update set devids = ${allDevids}
      returning fid`,
    values: [fid, slot, graceSeconds, elsewhere],
  })
  return rowCount > 0
}

/** Uploads that ran out or whose answer need not be kept any longer. */
export async function listExpiredUploads(
  db: Db,
  limit: number,
): Promise<(FileId & { committed: boolean })[]> {
  const { rows } = await db.query<FileId & { committed: boolean }>({
    name: 'uploads.list_expired',
    text: `
      select fid, slot, committed_at is not null as committed from upload
      where expires_at <= now() order by expires_at limit $1`,
    values: [limit],
  })
  return rows
}

/** Forgets the answers of finished uploads. */
export async function removeFinishedUploads(db: Db, uploads: readonly FileId[]): Promise<void> {
  await db.query({
    name: 'uploads.remove_finished',
    text: `
      delete from upload
      where slot = any($1) and fid = any($2) and committed_at is not null and expires_at <= now()`,
    values: [uploads.map(u => u.slot), uploads.map(u => u.fid)],
  })
}

export async function countOpenUploads(db: Db): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    name: 'uploads.count_open',
    text: 'select count(*) from upload where committed_at is null',
  })
  return rows[0]!.count
}
