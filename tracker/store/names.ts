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
   * It is found open once without a look into the database, where it may have been closed by others:
   * what is done with it must look.
   */
  insertUpload(upload: NewUpload): Promise<Date | undefined>
  findUpload(id: FileId): Promise<UploadRow | undefined>
  /** An open one, by its fid alone, as the line protocol names it. */
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
  const opened = new OpenedUploads()
  const insertUpload = createBatcher({
    ...writes,
    run: (uploads: readonly NewUpload[]) => insertUploads(lazyDb, uploads),
  })
  const findUpload = createBatcher({
    ...reads,
    run: (ids: readonly FileId[]) => findUploads(db, ids),
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
      if (expiresAt) opened.add(upload, expiresAt)
      return expiresAt
    },
    async findUpload(id) {
      const upload = opened.take(id.fid)
      return upload?.slot === id.slot ? upload : findUpload(id)
    },
    async findOpenUpload(fid) {
      return opened.take(fid) ?? findOpenUpload(fid)
    },
    commitUpload: createBatcher({
      ...writes,
      keysOf: commitKeys,
      run: (commits: readonly Commit[]) => commitUploads(db, commits),
    }),
  }
}

/** Uploads that this process has opened and not looked for yet. */
class OpenedUploads {
  // Two, since to take the oldest out of one again and again is slow: what was deleted stays in its way.
  #newer = new Map<number, UploadRow>()
  #older = this.#newer

  add(upload: NewUpload, expiresAt: Date): void {
    // Metadata may be long, and few files have any.
    if (upload.metadata !== null) return
    const { fid, slot, domainId, classId, key, size, durability, contentType } = upload
    this.#newer.set(fid, {
      fid,
      slot,
      domainId,
      classId,
      key,
      size,
      devids: [...upload.devids],
      durability,
      contentType,
      metadata: null,
      expiresAt,
      expired: false,
      committedAt: null,
      answer: null,
    })
    if (this.#newer.size >= rememberedUploads) {
      this.#older = this.#newer
      this.#newer = new Map()
    }
  }

  /** Whoever asks a second time wants to know what has become of it. */
  take(fid: number): UploadRow | undefined {
    const upload = this.#newer.get(fid) ?? this.#older.get(fid)
    if (!upload) return undefined
    this.#newer.delete(fid)
    this.#older.delete(fid)
    return upload
  }
}
