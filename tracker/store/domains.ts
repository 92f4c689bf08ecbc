/** Domains and their classes. Every domain has its default class, id 0, as a row from the start. */
import type { Db } from './db.ts'
import { allDevids } from './deletions.ts'

export type Hashtype = 'NONE' | 'MD5' | 'SHA-1'

export interface ClassRow {
  domainId: number
  id: number
  name: string
  mindevcount: number
  /** null: MultipleHosts(). */
  replpolicy: string | null
  hashtype: Hashtype
  ackCopies: number
  /** The default class as it came with its domain. */
  implicit: boolean
}

export interface DomainRow {
  id: number
  name: string
  /** How long deleted files can be had back; 0: not at all. */
  trashSeconds: number
}

/** What may be changed of a class; what is absent stays. */
export interface ClassChange {
  readonly mindevcount?: number
  readonly replpolicy?: string
  readonly hashtype?: Hashtype
  readonly ackCopies?: number
}

/** MogileFS's numbers for the algorithms. */
const hashtypeIds: Readonly<Record<Hashtype, number | null>> = { NONE: null, MD5: 1, 'SHA-1': 2 }

/** True for the name of an algorithm, or NONE. */
export function isHashtype(name: string): name is Hashtype {
  return Object.hasOwn(hashtypeIds, name)
}

const hashtypeName = (id: number | null): Hashtype =>
  id === 1 ? 'MD5' : id === 2 ? 'SHA-1' : 'NONE'

export async function listDomains(db: Db): Promise<DomainRow[]> {
  const { rows } = await db.query<DomainRow>({
    name: 'domains.list',
    text: 'select id, name, trash_seconds as "trashSeconds" from domain order by name',
  })
  return rows
}

export async function listClasses(db: Db): Promise<ClassRow[]> {
  const { rows } = await db.query<Omit<ClassRow, 'hashtype'> & { hashtypeId: number | null }>({
    name: 'domains.list_classes',
    text: `
      select domain_id as "domainId", id, name, mindevcount, replpolicy,
        hashtype as "hashtypeId", ack_copies as "ackCopies", implicit
      from class order by domain_id, id`,
  })
  return rows.map(({ hashtypeId, ...row }) => ({ ...row, hashtype: hashtypeName(hashtypeId) }))
}

/** Creates a domain with its default class and returns its id. Throws a unique violation. */
export async function insertDomain(db: Db, name: string): Promise<number> {
  const { rows } = await db.query<{ id: number }>({
    name: 'domains.insert',
    text: `
      with added as (
        insert into domain (name) values ($1) returning id
      )
      insert into class (domain_id, id, name, implicit) select id, 0, 'default', true from added
      returning domain_id as id`,
    values: [name],
  })
  return rows[0]!.id
}

/** Sets how long deleted files of a domain can be had back. What is deleted already keeps its time. */
export async function updateDomain(
  db: Db,
  { id, trashSeconds }: { readonly id: number; readonly trashSeconds: number },
): Promise<void> {
  await db.query({
    name: 'domains.update',
    text: 'update domain set trash_seconds = $2 where id = $1',
    values: [id, trashSeconds],
  })
}

/** Removes a domain and its classes; the caller has made sure that nothing is left in it. */
export async function removeDomain(db: Db, id: number): Promise<void> {
  await db.query({ name: 'domains.remove', text: 'delete from domain where id = $1', values: [id] })
}

/** True when any file belongs to the domain, and to the class when one is given. */
export async function hasFiles(db: Db, domainId: number, classId?: number): Promise<boolean> {
  // Apart, since each has its own index.
  const [name, ofClass, values] =
    classId === undefined
      ? ['domains.has_files', '', [domainId]]
      : ['domains.class_has_files', 'and class_id = $2', [domainId, classId]]
  const { rows } = await db.query<{ found: boolean }>({
    name,
    text: `select exists (select from file where domain_id = $1 ${ofClass}) as found`,
    values,
  })
  return rows[0]!.found
}

/**
 * Gives up the open uploads of a domain that is to go, and queues what was written for deletion.
 * Returns how many. Goes before the look for files: an upload that is committed in the same moment is
 * one by then.
 */
export async function abandonUploadsOf(
  tx: Db,
  domainId: number,
  graceSeconds: number,
): Promise<number> {
  const { rowCount } = await tx.query({
    name: 'domains.abandon_uploads',
    text: `
      with gone as (
        delete from upload where domain_id = $1 and committed_at is null
        returning fid, slot, devids
      )
      insert into delete_job (fid, slot, devids, next_try)
      select fid, slot, devids, now() + make_interval(secs => $2) from gone
      on conflict (fid, slot) do update set devids = ${allDevids}`,
    values: [domainId, graceSeconds],
  })
  return rowCount
}

/** Has the open uploads of a class that is to go become files of the default one. As above. */
export async function declassifyUploads(tx: Db, domainId: number, classId: number): Promise<void> {
  await tx.query({
    name: 'domains.declassify_uploads',
    text: `
      update upload set class_id = 0
      where domain_id = $1 and class_id = $2 and committed_at is null`,
    values: [domainId, classId],
  })
}

/** Creates a class. Throws a unique violation. */
export async function insertClass(
  db: Db,
  { domainId, name, ...change }: { domainId: number; name: string } & ClassChange,
): Promise<void> {
  await db.query({
    name: 'domains.insert_class',
    text: `
      insert into class (domain_id, id, name, mindevcount, replpolicy, hashtype, ack_copies)
      select $1, coalesce(max(id), 0) + 1, $2, $3, $4, $5, $6 from class where domain_id = $1`,
    values: [
      domainId,
      name,
      change.mindevcount ?? 2,
      change.replpolicy ?? null,
      hashtypeIds[change.hashtype ?? 'NONE'],
      change.ackCopies ?? 1,
    ],
  })
}

export async function updateClass(
  db: Db,
  { domainId, id, ...change }: { domainId: number; id: number } & ClassChange,
): Promise<void> {
  await db.query({
    name: 'domains.update_class',
    text: `
      update class set
        mindevcount = coalesce($3, mindevcount),
        replpolicy = coalesce($4, replpolicy),
        hashtype = case when $5 then $6::smallint else hashtype end,
        ack_copies = coalesce($7, ack_copies),
        implicit = false
      where domain_id = $1 and id = $2`,
    values: [
      domainId,
      id,
      change.mindevcount ?? null,
      change.replpolicy ?? null,
      change.hashtype !== undefined,
      hashtypeIds[change.hashtype ?? 'NONE'],
      change.ackCopies ?? null,
    ],
  })
}

export async function removeClass(db: Db, domainId: number, id: number): Promise<void> {
  await db.query({
    name: 'domains.remove_class',
    text: 'delete from class where domain_id = $1 and id = $2',
    values: [domainId, id],
  })
}
