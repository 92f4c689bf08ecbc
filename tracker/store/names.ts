/**
 * The statements that every request of a client comes down to. Requests that arrive together share
 * one of each; see `createBatcher`.
 */
import { createBatcher } from './batch.ts'
import type { Db } from './db.ts'
import {
  findContents,
  findFiles,
  moveFiles,
  moveKeys,
  removalKeys,
  removeFiles,
  type FileContent,
  type FileId,
  type FileKey,
  type FileRow,
  type Move,
  type Removal,
} from './files.ts'
import {
  commitKeys,
  commitUploads,
  findUploads,
  findOpenUploads,
  insertUploads,
  type Commit,
  type NewUpload,
  type OpenUpload,
  type UploadRow,
} from './uploads.ts'

export interface Names {
  /** The live file of a key. */
  findFile(key: FileKey): Promise<FileRow | undefined>
  /** What readers need of it. */
  findContent(key: FileKey): Promise<FileContent | undefined>
  /** See `removeFiles`. */
  removeFile(removal: Removal): Promise<boolean>
  /** See `moveFiles`. */
  moveFile(move: Move): Promise<FileRow | undefined>
  /**
   * Opens an upload without waiting for the disk: when it ends, or undefined when the domain is gone.
   * One that is `remembered` is found open once without a look into the database.
   */
  insertUpload(upload: NewUpload & { readonly remembered?: boolean }): Promise<Date | undefined>
  findUpload(id: FileId): Promise<UploadRow | undefined>
  /**
   * An open one, by its fid alone, as the line protocol names it. A remembered one may have been
   * closed elsewhere: what is done with it must look.
   */
  findOpenUpload(fid: number): Promise<OpenUpload | undefined>
  /** Commits an upload, flushed: when, or undefined when it is not open any more. */
  commitUpload(commit: Commit): Promise<Date | undefined>
}

/** Most items in one statement; statements of a kind under way at once. */
const reads = { limit: 200, parallel: 2 }
const writes = { limit: 100, parallel: 2 }

/** Uploads that are remembered at least; the older ones are forgotten, as many at once. */
const rememberedUploads = 5_000

/** Creates it on two pools: `lazyDb` does not flush its commits. */
export function createNames(db: Db, lazyDb: Db): Names {
  // Two, since to take the oldest out of one again and again is slow: what was deleted stays in its way.
  let remembered = new Map<number, OpenUpload>()
  let earlier = remembered
  const insertUpload = createBatcher({
    ...writes,
    run: (uploads: readonly NewUpload[]) => insertUploads(lazyDb, uploads),
  })
  const findOpenUpload = createBatcher({
    ...reads,
    run: (fids: readonly number[]) => findOpenUploads(db, fids),
  })
  return {
    findFile: createBatcher({
      ...reads,
      run: (keys: readonly FileKey[]) => findFiles(db, keys),
    }),
    findContent: createBatcher({
      ...reads,
      run: (keys: readonly FileKey[]) => findContents(db, keys),
    }),
    removeFile: createBatcher({
      ...writes,
      keysOf: removalKeys,
      run: (removals: readonly Removal[]) => removeFiles(db, removals),
    }),
    moveFile: createBatcher({
      ...writes,
      keysOf: moveKeys,
      run: (moves: readonly Move[]) => moveFiles(db, moves),
    }),
    async insertUpload(upload) {
      const expiresAt = await insertUpload(upload)
      if (expiresAt && upload.remembered) {
        const { fid, slot, domainId, classId, key } = upload
        const devids = [...upload.devids]
        const open = { fid, slot, domainId, classId, key, devids, expiresAt, expired: false }
        remembered.set(fid, open)
        if (remembered.size >= rememberedUploads) {
          earlier = remembered
          remembered = new Map()
        }
      }
      return expiresAt
    },
    findUpload: createBatcher({
      ...reads,
      run: (ids: readonly FileId[]) => findUploads(db, ids),
    }),
    findOpenUpload(fid) {
      const upload = remembered.get(fid) ?? earlier.get(fid)
      if (!upload) return findOpenUpload(fid)
      // Whoever asks again wants to know what has become of it.
      remembered.delete(fid)
      earlier.delete(fid)
      return Promise.resolve(upload)
    },
    commitUpload: createBatcher({
      ...writes,
      keysOf: commitKeys,
      run: (commits: readonly Commit[]) => commitUploads(db, commits),
    }),
  }
}
