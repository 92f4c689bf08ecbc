/** Live files: one row per key. Every hot statement names the key's slot. */
import type { Metadata } from '../../common/protocol/files.ts'
import { byteaArray, numberArray } from './arrays.ts'
import type { Caller } from './audit.ts'
import type { Db } from './db.ts'
import { allDevids, trashMarginSeconds } from './deletions.ts'
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

/** The live files of keys, in order; undefined where there is none. */
export function findFiles(db: Db, keys: readonly FileKey[]): Promise<(FileRow | undefined)[]> {
  return find<FileRow>(db, keys, { name: 'files.find', columns })
}

/** What has to be known of a file to read it. */
export type FileContent = Pick<
  FileRow,
  'fid' | 'slot' | 'domainId' | 'classId' | 'size' | 'devids' | 'hashtype' | 'checksum'
>

/** The same as `findFiles` without what only a stat shows, at half the cost. */
export function findContents(
  db: Db,
  keys: readonly FileKey[],
): Promise<(FileContent | undefined)[]> {
  const read = `fid, slot, domain_id as "domainId", class_id as "classId", size, devids, hashtype,
    checksum`
  return find<FileContent>(db, keys, { name: 'files.find_content', columns: read })
}

async function find<Row>(
  db: Db,
  keys: readonly FileKey[],
  { name, columns: selected }: { name: string; columns: string },
): Promise<(Row | undefined)[]> {
  const [only] = keys
  if (only && keys.length === 1) {
    // The case of one caller at a time, at two thirds of the other's latency.
    const { rows } = await db.query<Row>({
      name: `${name}_one`,
      text: `select ${selected} from file where domain_id = $1 and key = $2 and slot = $3`,
      values: [only.domainId, only.key, only.slot],
    })
    return [rows[0]]
  }
  const { rows } = await db.query<Row & { at: number }>({
    name,
    text: `
      select wanted.at, ${selected}
      from unnest($1::int[], $2::bytea[], $3::smallint[])
        with ordinality as wanted (wanted_domain, wanted_key, wanted_slot, at)
      join file on domain_id = wanted_domain and key = wanted_key and slot = wanted_slot`,
    values: keyColumns(keys),
  })
  const found: (Row | undefined)[] = Array.from({ length: keys.length })
  // With `at` in it: to copy a row without it costs more than to read it.
  for (const row of rows) found[row.at - 1] = row
  return found
}

/** Parameters for arrays of domain ids, keys and slots. */
const keyColumns = (keys: readonly FileKey[]): [string, string, string] => [
  numberArray(keys.map(({ domainId }) => domainId)),
  byteaArray(keys.map(({ key }) => key)),
  numberArray(keys.map(({ slot }) => slot)),
]

/** The live file with this content, whatever its key is called by now. */
export async function findFileByFid(db: Db, fid: number): Promise<FileRow | undefined> {
  const { rows } = await db.query<FileRow>({
    name: 'files.find_by_fid',
    text: `select ${columns} from file where fid = $1`,
    values: [fid],
  })
  return rows[0]
}

/** The slots that live files are in, in order; undefined where there is none. A rename changes it. */
export async function findSlots(db: Db, fids: readonly number[]): Promise<(number | undefined)[]> {
  const { rows } = await db.query<FileId>({
    name: 'files.find_slots',
    text: 'select fid, slot from file where fid = any($1::bigint[])',
    values: [numberArray(fids)],
  })
  const slots = new Map(rows.map(({ fid, slot }) => [fid, slot]))
  return fids.map(fid => slots.get(fid))
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

/**
 * The keys of a range in byte order, as byte strings (a character, U+0000 to U+00FF, per byte). They
 * come as one row of one text whatever the limit: a thousand rows cost ten times what is in them, and
 * arrays and binary values twice. `\,`, which escaped bytes never begin with, parts them.
 */
export async function listKeys(
  db: Db,
  { domainId, from, exclusive, below, limit }: FileRange,
): Promise<string[]> {
  const { rows } = await db.query<{ keys: string | null }>({
    name: exclusive ? 'files.keys_after' : 'files.keys_from',
    text: `
      select string_agg(encode(key, 'escape'), '\\,' order by key) as keys
      from (
        select key from file
        where domain_id = $1 and key ${exclusive ? '>' : '>='} $2 and ($3::bytea is null or key < $3)
        order by key limit $4
      ) as page`,
    values: [domainId, from, below ?? null, limit],
  })
  const { keys } = rows[0]!
  return keys === null ? [] : splitKeys(keys)
}

/** Takes apart what Postgres escaped: `\\` is a backslash, `\nnn` a byte in octal digits. */
function splitKeys(text: string): string[] {
  if (!/\\[\\0-7]/.test(text)) return text.split('\\,')
  const parting = '\u0100'
  const whole = text.replace(/\\(,|\\|[0-7]{3})/g, (_, what: string) => {
    if (what === ',') return parting
    return what === '\\' ? what : String.fromCharCode(Number.parseInt(what, 8))
  })
  return whole.split(parting)
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

/** A key to take away. */
export interface Removal {
  readonly file: FileKey
  /** Only while it stands for this content. */
  readonly fid?: number | undefined
  readonly graceSeconds: number
  readonly caller: Caller
}

/** What two removals in one statement must not have in common. */
export const removalKeys = ({ file }: Removal): string[] => [keyText(file)]

const keyText = ({ domainId, key }: FileKey): string => `${domainId} ${key.toString('latin1')}`

/**
 * Takes keys away at once and queues their bytes for deletion, in domains with a trash for when they
 * can no longer be had back. False where there is no such key.
 */
export async function removeFiles(db: Db, removals: readonly Removal[]): Promise<boolean[]> {
  const { rows } = await db.query<{ at: number }>({
    name: 'files.remove',
    text: `
      with wanted as (
        select w.*, trash_seconds
        from unnest($1::int[], $2::bytea[], $3::smallint[], $4::bigint[], $5::float8[],
            $6::text[], $7::int[], $8::text[], $9::text[])
          with ordinality as w (domain_id, key, slot, fid, grace, actor, token_id, address,
            request_id, at)
        join domain on domain.id = w.domain_id
      ), gone as (
        delete from file using wanted
        where file.domain_id = wanted.domain_id and file.key = wanted.key
          and file.slot = wanted.slot and (wanted.fid is null or file.fid = wanted.fid)
        returning file.*, trash_seconds, at, grace, actor, token_id, address, request_id
      ), kept as (
        insert into trash (fid, slot, domain_id, key, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata, created_at, expires_at)
        select fid, slot, domain_id, key, class_id, size, devids, sha256, hashtype, checksum,
          content_type, metadata, created_at, now() + make_interval(secs => trash_seconds)
        from gone where trash_seconds > 0
      ), queued as (
        insert into delete_job (fid, slot, devids, next_try)
        select fid, slot, devids, now() + make_interval(secs =>
          case when trash_seconds > 0 then trash_seconds + $10 else grace end)
        from gone
        on conflict (fid, slot) do update set
          devids = ${allDevids},
          next_try = least(delete_job.next_try, excluded.next_try)
      ), noted as (
        insert into audit (slot, actor, token_id, address, request_id, action, domain_id, fid, key)
        select slot, actor, token_id, address, request_id, 'delete', domain_id, fid, key from gone
      )
      select at from gone`,
    values: [
      ...keyColumns(removals.map(({ file }) => file)),
      numberArray(removals.map(({ fid }) => fid ?? null)),
      numberArray(removals.map(({ graceSeconds }) => graceSeconds)),
      removals.map(({ caller }) => caller.actor),
      numberArray(removals.map(({ caller }) => caller.tokenId ?? null)),
      removals.map(({ caller }) => caller.address),
      removals.map(({ caller }) => caller.requestId),
      trashMarginSeconds,
    ],
  })
  const gone = new Set(rows.map(({ at }) => at))
  return removals.map((_, i) => gone.has(i + 1))
}

/** A key and the other one that its file is to have, of the same domain. */
export interface Move {
  readonly from: FileKey
  readonly to: FileKey
}

/** What two moves in one statement must not have in common. */
export const moveKeys = ({ from, to }: Move): string[] => [keyText(from), keyText(to)]

/**
 * Gives files other keys, with the jobs that wait for them. Undefined where `from` is not there or
 * `to` is taken; throws a unique violation when `to` is taken in the same moment.
 */
export async function moveFiles(db: Db, moves: readonly Move[]): Promise<(FileRow | undefined)[]> {
  const { rows } = await db.query<FileRow & { at: number }>({
    name: 'files.move',
    text: `
      with wanted as (
        select * from unnest($1::int[], $2::bytea[], $3::smallint[], $4::bytea[], $5::smallint[])
          with ordinality as w (domain_id, key, slot, to_key, to_slot, at)
      ), moved as (
        delete from file using wanted
        where file.domain_id = wanted.domain_id and file.key = wanted.key
          and file.slot = wanted.slot
          and not exists (
            select from file as taken where taken.domain_id = wanted.domain_id
              and taken.key = to_key and taken.slot = to_slot)
        returning file.*, to_key, to_slot, at
      ), jobs as (
        delete from replicate_job using moved
        where replicate_job.fid = moved.fid and replicate_job.slot = moved.slot
        returning replicate_job.*, to_slot
      ), requeued as (
        insert into replicate_job (fid, slot, next_try, queued_at, attempts, last_error, changed_at,
          copies)
        select fid, to_slot, next_try, queued_at, attempts, last_error, changed_at, copies from jobs
        on conflict (fid, slot) do nothing
      ), stored as (
        insert into file (domain_id, key, slot, fid, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata, created_at, modified_at)
        select domain_id, to_key, to_slot, fid, class_id, size, devids, sha256, hashtype,
          checksum, content_type, metadata, created_at, now()
        from moved
        returning ${columns}
      )
      select stored.*, at from stored join moved using (fid)`,
    values: [
      ...keyColumns(moves.map(({ from }) => from)),
      byteaArray(moves.map(({ to }) => to.key)),
      numberArray(moves.map(({ to }) => to.slot)),
    ],
  })
  const moved: (FileRow | undefined)[] = Array.from({ length: moves.length })
  for (const { at, ...row } of rows) moved[at - 1] = row
  return moved
}

export interface FileChange {
  readonly classId?: number
  readonly contentType?: string | null
  readonly metadata?: Metadata
}

/**
 * Changes class, content type or metadata; a new class queues the file for a look at its copies. One
 * that is queued is asked for: see `reclaimReplication`.
 */
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
        on conflict (fid, slot) do update set
          next_try = least(replicate_job.next_try, now() + interval '1 second')
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
