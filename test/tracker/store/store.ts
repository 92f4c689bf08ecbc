/** A migrated database with one domain, and what the store tests do with it. */
import type { Test } from 'tap'
import { openDb, type Db, type DbPool } from '../../../tracker/store/db.ts'
import { insertDomain } from '../../../tracker/store/domains.ts'
import {
  fileKey,
  findFiles,
  moveFiles,
  removeFiles,
  type FileId,
  type FileKey,
  type FileRow,
} from '../../../tracker/store/files.ts'
import { commitUploads, insertUploads, type Commit } from '../../../tracker/store/uploads.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { openSql, type Sql } from '../database.ts'

export const caller = { actor: 'tester', address: '127.0.0.1' }

export interface Store {
  readonly db: DbPool
  readonly sql: Sql
  readonly domainId: number
  readonly key: (name: string | Buffer) => FileKey
  /** Opens an upload; its bytes are offered to `devids`. */
  readonly open: (fid: number, name: string | Buffer, devids?: readonly number[]) => Promise<FileId>
  /** Commits an upload that was opened as `fid` for `name`, with replicas on `devids`, on `db` or `on`. */
  readonly commit: (
    fid: number,
    name: string | Buffer,
    devids?: readonly number[],
    change?: Partial<Commit>,
    on?: Db,
  ) => Promise<Date | undefined>
  /** Opens and commits. */
  readonly put: (fid: number, name: string | Buffer, devids?: readonly number[]) => Promise<FileId>
  readonly find: (name: string | Buffer) => Promise<FileRow | undefined>
  /** Its bytes are due for deletion after `graceSeconds`. */
  readonly remove: (name: string, graceSeconds?: number) => Promise<boolean>
  readonly move: (from: string, to: string) => Promise<FileRow | undefined>
}

/** Opens it; `t`'s end closes it. */
export async function openStore(t: Test): Promise<Store> {
  const { url } = await testDatabase(t)
  const db = openPool(t, url)
  const sql = await openSql(t, url)
  const domainId = await insertDomain(db, 'test')
  const key = (name: string | Buffer): FileKey => fileKey(domainId, Buffer.from(name as string))

  const open: Store['open'] = async (fid, name, devids = [1, 2]) => {
    const { slot } = key(name)
    await insertUploads(db, [
      {
        ...key(name),
        fid,
        classId: 0,
        size: null,
        devids,
        durability: 'safe',
        contentType: null,
        metadata: null,
        seconds: 60,
      },
    ])
    return { fid, slot }
  }
  const commit: Store['commit'] = async (fid, name, devids = [1, 2], change = {}, on = db) => {
    const [committedAt] = await commitUploads(on, [
      {
        upload: { fid, slot: key(name).slot },
        file: key(name),
        answer: { size: 5, devids: [...devids], copies: devids.length },
        checksum: null,
        replicate: false,
        repeatable: true,
        graceSeconds: 0,
        caller,
        ...change,
      },
    ])
    return committedAt
  }
  return {
    db,
    sql,
    domainId,
    key,
    open,
    commit,
    async put(fid, name, devids) {
      const upload = await open(fid, name, devids)
      await commit(fid, name, devids)
      return upload
    },
    async find(name) {
      return (await findFiles(db, [key(name)]))[0]
    },
    async remove(name, graceSeconds = 0) {
      const [removed] = await removeFiles(db, [{ file: key(name), graceSeconds, caller }])
      return removed === true
    },
    async move(from, to) {
      return (await moveFiles(db, [{ from: key(from), to: key(to) }]))[0]
    },
  }
}

/** A pool as a tracker has it; `t`'s end closes it. */
export function openPool(t: Pick<Test, 'teardown'>, url: string): DbPool {
  // A pool counts as closed before its connections are; those the dropped database cuts are no news.
  const db = openDb({ url, max: 8, onError() {} })
  t.teardown(() => db.close())
  return db
}
