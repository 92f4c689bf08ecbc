/** Deleted files of domains that keep them for a while, and the way back. */
import type { Caller } from './audit.ts'
import type { Db } from './db.ts'
import type { FileId, FileKey } from './files.ts'

export interface TrashRow extends FileId {
  readonly key: Buffer
  readonly classId: number
  readonly size: number
  readonly devids: number[]
  readonly contentType: string | null
  readonly deletedAt: Date
  readonly expiresAt: Date
}

const columns = `
  fid, slot, key, class_id as "classId", size, devids, content_type as "contentType",
  deleted_at as "deletedAt", expires_at as "expiresAt"`

export interface TrashRange {
  readonly domainId: number
  /** Every key begins with it. */
  readonly prefix: Buffer
  /** The last entry of the page before. */
  readonly after: { readonly key: Buffer; readonly fid: number }
  readonly limit: number
}

/** What can be had back of a domain, by key and, of one key, oldest first. */
export async function listTrash(
  db: Db,
  { domainId, prefix, after, limit }: TrashRange,
): Promise<TrashRow[]> {
  const { rows } = await db.query<TrashRow>({
    name: 'trash.list',
    text: `
      select ${columns} from trash
      where domain_id = $1 and substring(key for length($2::bytea)) = $2::bytea
        and key >= $2::bytea and (key, fid) > ($3::bytea, $4::bigint) and expires_at > now()
      order by key, fid limit $5`,
    values: [domainId, prefix, after.key, after.fid, limit],
  })
  return rows
}

/** The newest content of a key that can be had back, or the one that is named. */
export async function findTrash(
  db: Db,
  { domainId, key }: FileKey,
  fid: number | undefined,
): Promise<TrashRow | undefined> {
  const { rows } = await db.query<TrashRow>({
    name: 'trash.find',
    text: `
      select ${columns} from trash
      where domain_id = $1 and key = $2 and ($3::bigint is null or fid = $3) and expires_at > now()
      order by deleted_at desc, fid desc limit 1`,
    values: [domainId, key, fid ?? null],
  })
  return rows[0]
}

/**
 * Makes a content the live file of its key again, in one statement with the end of its deletion and
 * the audit. Its replicas are looked at afterwards: devices may have died meanwhile. False when it
 * can no longer be had back; throws a unique violation when the key is taken.
 */
export async function restoreTrash(
  db: Db,
  { fid, slot }: FileId,
  caller: Caller,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'trash.restore',
    text: `
      with taken as (
        delete from trash where fid = $1 and slot = $2 and expires_at > now() returning *
      ), stored as (
        insert into file (fid, slot, domain_id, key, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata, created_at)
        select fid, slot, domain_id, key,
          case when exists (
            select from class where class.domain_id = taken.domain_id and class.id = class_id
          ) then class_id else 0 end,
          size, devids, sha256, hashtype, checksum, content_type, metadata, created_at
        from taken
        returning fid, slot, domain_id, key, devids
      ), finished as (
        delete from delete_job using stored
        where delete_job.fid = stored.fid and delete_job.slot = stored.slot
          and delete_job.devids <@ stored.devids
      ), left_over as (
        update delete_job set next_try = now(), devids = array(
          select devid from unnest(delete_job.devids) as devid where devid <> all (stored.devids))
        from stored
        where delete_job.fid = stored.fid and delete_job.slot = stored.slot
          and not delete_job.devids <@ stored.devids
      ), queued as (
        insert into replicate_job (fid, slot, next_try) select fid, slot, now() from stored
        on conflict (fid, slot) do update set
          next_try = least(replicate_job.next_try, excluded.next_try)
      )
      insert into audit (slot, actor, token_id, address, request_id, action, domain_id, fid, key)
      select slot, $3, $4, $5, $6, 'undelete', domain_id, fid, key from stored`,
    values: [
      fid,
      slot,
      caller.actor,
      caller.tokenId ?? null,
      caller.address,
      caller.requestId ?? null,
    ],
  })
  return rowCount > 0
}

/** Lets go of all that can be had back of a domain: its bytes are due now. Returns how many files. */
export async function emptyTrash(tx: Db, domainId: number): Promise<number> {
  const { rowCount } = await tx.query({
    name: 'trash.empty',
    text: `
      with gone as (
        delete from trash where domain_id = $1 returning fid, slot
      )
      update delete_job set next_try = now()
      from gone where delete_job.fid = gone.fid and delete_job.slot = gone.slot`,
    values: [domainId],
  })
  return rowCount
}
