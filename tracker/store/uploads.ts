/** Open uploads, and the one statement that turns an upload into a live file. */
import type { Durability, Metadata } from '../../common/protocol.ts'
import type { Caller } from './audit.ts'
import type { Db } from './db.ts'
import type { FileId, FileKey } from './files.ts'

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
 * Notes an upload that may be committed within `seconds`; returns when that ends, or undefined when
 * the domain has been removed meanwhile.
 */
export async function insertUpload(db: Db, upload: NewUpload): Promise<Date | undefined> {
  const { rows } = await db.query<{ expiresAt: Date }>({
    name: 'uploads.insert',
    text: `
      insert into upload (fid, slot, domain_id, class_id, key, size, devids, durability,
        content_type, metadata, expires_at)
      select $1::bigint, $2::smallint, id, $4::int, $5::bytea, $6::bigint, $7::int[], $8::text,
        $9::text, $10::jsonb, now() + make_interval(secs => $11)
      from domain where id = $3
      returning expires_at as "expiresAt"`,
    values: [
      upload.fid,
      upload.slot,
      upload.domainId,
      upload.classId,
      upload.key,
      upload.size,
      upload.devids,
      upload.durability,
      upload.contentType,
      upload.metadata,
      upload.seconds,
    ],
  })
  return rows[0]?.expiresAt
}

export async function findUpload(db: Db, { fid, slot }: FileId): Promise<UploadRow | undefined> {
  const { rows } = await db.query<UploadRow>({
    name: 'uploads.find',
    text: `select ${columns} from upload where fid = $1 and slot = $2`,
    values: [fid, slot],
  })
  return rows[0]
}

/** An upload by its fid alone, as the line protocol names it. */
export async function findUploadByFid(db: Db, fid: number): Promise<UploadRow | undefined> {
  const { rows } = await db.query<UploadRow>({
    name: 'uploads.find_by_fid',
    text: `select ${columns} from upload where fid = $1`,
    values: [fid],
  })
  return rows[0]
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
  readonly graceSeconds: number
  readonly caller: Caller
}

/**
 * Makes an open upload the content of its key, in one statement: upload closed, file in or replaced,
 * the displaced content to the delete queue, missing copies to the replicate queue, audit. The
 * upsert reads the displaced row under its lock, so of concurrent commits each displaces the one
 * before. Undefined when the upload is not open any more.
 */
export async function commitUpload(db: Db, commit: Commit): Promise<Date | undefined> {
  const { upload, file, answer, checksum, caller } = commit
  const { rows } = await db.query<{ committedAt: Date }>({
    name: 'uploads.commit',
    text: `
      with closed as (
        update upload
        set committed_at = now(), expires_at = now() + interval '1 hour', answer = $6
        where fid = $1 and slot = $2 and committed_at is null and expires_at > now()
        returning class_id, content_type, metadata
      ), stored as (
        insert into file (domain_id, key, slot, fid, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata)
        select $3, $4, $5, $1, class_id, $7, $8, $9, $10, $11, content_type, metadata from closed
        on conflict (domain_id, key, slot) do update set
          replaced_fid = file.fid, replaced_devids = file.devids,
          fid = excluded.fid, class_id = excluded.class_id, size = excluded.size,
          devids = excluded.devids, sha256 = excluded.sha256, hashtype = excluded.hashtype,
          checksum = excluded.checksum, content_type = excluded.content_type,
          metadata = excluded.metadata, created_at = now(), modified_at = now()
        returning fid, slot, replaced_fid, replaced_devids, created_at
      ), displaced as (
        insert into delete_job (fid, slot, devids, next_try)
        select replaced_fid, slot, replaced_devids, now() + make_interval(secs => $12)
        from stored where replaced_fid is not null
        on conflict (fid, slot) do nothing
      ), queued as (
        insert into replicate_job (fid, slot, next_try)
        select fid, slot, now() from stored where $13
        on conflict (fid, slot) do nothing
      ), noted as (
        insert into audit (slot, actor, address, request_id, action, domain_id, fid, key)
        select slot, $14, $15, $16, 'put', $3, fid, $4 from stored
      )
      select created_at as "committedAt" from stored`,
    values: [
      upload.fid,
      upload.slot,
      file.domainId,
      file.key,
      file.slot,
      answer,
      answer.size,
      answer.devids,
      answer.sha256 === undefined ? null : Buffer.from(answer.sha256, 'hex'),
      checksum?.hashtype ?? null,
      checksum?.digest ?? null,
      commit.graceSeconds,
      commit.replicate,
      caller.actor,
      caller.address,
      caller.requestId ?? null,
    ],
  })
  return rows[0]?.committedAt
}

/**
 * Gives an open upload up: its row goes, and whatever was written to the offered devices is queued
 * for deletion. False when it is not open.
 */
export async function abandonUpload(
  db: Db,
  { fid, slot }: FileId,
  graceSeconds: number,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'uploads.abandon',
    text: `
      with gone as (
        delete from upload where fid = $1 and slot = $2 and committed_at is null
        returning fid, slot, devids
      )
      insert into delete_job (fid, slot, devids, next_try)
      select fid, slot, devids, now() + make_interval(secs => $3) from gone
      on conflict (fid, slot) do nothing
      returning fid`,
    values: [fid, slot, graceSeconds],
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
