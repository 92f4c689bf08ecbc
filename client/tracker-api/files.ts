/** The routes of the tracker's HTTP API for files, uploads and the trash, as functions. */
import { isCoded } from '../../common/errors.ts'
import { checkKey, encodeKey, keyToJson } from '../../common/keys.ts'
import type {
  ChangeFile,
  Committed,
  CommitUpload,
  FileInfo,
  FileList,
  Located,
  OpenedUpload,
  OpenUpload,
} from '../../common/protocol/files.ts'
import type { Purged, ReplicaReport, TrashList } from '../../common/protocol/upkeep.ts'
import {
  bytesOf,
  domainPath,
  keyQuery,
  segment,
  type CallOptions,
  type FileRef,
  type Key,
  type ListQuery,
  type TrashPage,
} from './names.ts'
import type { TrackerPool } from './pool.ts'

/** Files. Every call that takes a key throws no_key or key_too_long before anything is sent. */
export interface FileApi {
  /** Throws unknown_key. */
  stat(file: FileRef, options?: CallOptions): Promise<FileInfo>
  /** Throws unknown_key or no_replica. */
  locate(file: FileRef, options?: CallOptions): Promise<Located>
  /** One page. For the next one, pass `next` of the answer through `decodeKey` as `after`. */
  list(domain: string, query?: ListQuery, options?: CallOptions): Promise<FileList>
  /** Throws unknown_key, class_not_found or bad_metadata. */
  change(file: FileRef, change: ChangeFile, options?: CallOptions): Promise<FileInfo>
  /** Throws unknown_key, unless an earlier try of this very call may have deleted it. */
  remove(file: FileRef, options?: CallOptions): Promise<void>
  /** Deleted files that can be restored, by key. For the next page, pass the last key and fid. */
  listTrash(domain: string, query?: TrashPage, options?: CallOptions): Promise<TrashList>
  /**
   * Restores a deleted file: the one that was deleted last, or the one with this `fid`. Throws unknown_key,
   * key_exists or no_replica.
   */
  undelete(file: FileRef & { fid?: number | undefined }, options?: CallOptions): Promise<FileInfo>
  /** Deletes the trash for good. Needs a token of scope `admin`. */
  emptyTrash(domain: string, options?: CallOptions): Promise<Purged>
  /** Throws unknown_key or key_exists, unless an earlier try of this very call has renamed it. */
  rename(file: FileRef, to: Key, options?: CallOptions): Promise<FileInfo>
  /**
   * Opens an upload; the answer names the devices to write to. Throws unreg_class, bad_metadata or
   * no_devices.
   */
  openUpload(
    file: FileRef,
    upload: Omit<OpenUpload, 'key' | 'keyBytes'>,
    options?: CallOptions,
  ): Promise<OpenedUpload>
  /** May be repeated and then answers the same. With `makeCopies` it waits until the copies are made. */
  commitUpload(
    ref: { domain: string; upload: string },
    commit: CommitUpload,
    options?: CallOptions,
  ): Promise<Committed>
  /** Reports a replica that is not what it should be; the tracker checks its file soon. */
  reportReplica(report: ReplicaReport, options?: CallOptions): Promise<void>
  /** Gives up an upload. It is no error when it is gone already. */
  abandonUpload(ref: { domain: string; upload: string }, options?: CallOptions): Promise<void>
}

/** Bytes per second that a copy between nodes is expected to make at least. */
const copyRate = 4 * 1024 * 1024

/** Creates the functions over a pool. */
export function createFileApi({ request }: TrackerPool): FileApi {
  const filePath = (domain: string): string => `${domainPath(domain)}/files/`
  const uploadPath = ({ domain, upload }: { domain: string; upload: string }): string =>
    `${domainPath(domain)}/uploads/${segment(upload)}`

  const api: FileApi = {
    stat: async ({ domain, key }, options) =>
      await request('GET', filePath(domain), { query: keyQuery(key), ...options }),

    locate: async ({ domain, key }, options) =>
      await request('GET', `${domainPath(domain)}/locations`, { query: keyQuery(key), ...options }),

    list(domain, { prefix, after, delimiter, limit } = {}, options) {
      const query = {
        prefix: prefix === undefined ? undefined : encodeKey(prefix),
        after: after === undefined ? undefined : encodeKey(after),
        delimiter: delimiter === undefined ? undefined : segment(delimiter),
        limit: limit === undefined ? undefined : String(limit),
      }
      return request('GET', `${domainPath(domain)}/files`, { query, ...options })
    },

    change: async ({ domain, key }, body, options) =>
      await request('PATCH', filePath(domain), { query: keyQuery(key), body, ...options }),

    remove: async ({ domain, key }, options) =>
      await request('DELETE', filePath(domain), {
        query: keyQuery(key),
        inDoubt(refusal) {
          if (refusal.code !== 'unknown_key') throw refusal
        },
        ...options,
      }),

    listTrash(domain, { prefix, after, afterFid, limit } = {}, options) {
      const query = {
        prefix: prefix === undefined ? undefined : encodeKey(prefix),
        after: after === undefined ? undefined : encodeKey(after),
        afterFid: afterFid === undefined ? undefined : String(afterFid),
        limit: limit === undefined ? undefined : String(limit),
      }
      return request('GET', `${domainPath(domain)}/trash`, { query, ...options })
    },

    async undelete({ domain, key, fid }, options) {
      checkKey(bytesOf(key))
      const body = { ...keyToJson(bytesOf(key)), ...(fid !== undefined && { fid }) }
      return await request('POST', `${domainPath(domain)}/undelete`, { body, ...options })
    },

    emptyTrash: (domain, options) => request('DELETE', `${domainPath(domain)}/trash`, options),

    async rename({ domain, key }, to, options) {
      checkKey(bytesOf(to))
      // If an answer is lost, the fid tells whether the file at the new key is this one.
      const { fid } = await api.stat({ domain, key }, options)
      const source = keyToJson(bytesOf(key))
      const target = keyToJson(bytesOf(to))
      const body = {
        from: source.key,
        ...(source.keyBytes !== undefined && { fromBytes: source.keyBytes }),
        to: target.key,
        ...(target.keyBytes !== undefined && { toBytes: target.keyBytes }),
      }
      return request<FileInfo>('POST', `${domainPath(domain)}/rename`, {
        body,
        idempotent: true,
        async inDoubt(refusal) {
          const { code } = refusal
          if (code !== 'unknown_key' && code !== 'key_exists') throw refusal
          const there = await api.stat({ domain, key: to }, options).catch((err: unknown) => {
            throw isCoded(err, 'unknown_key') ? refusal : err
          })
          if (there.fid !== fid) throw refusal
          return there
        },
        ...options,
      })
    },

    async openUpload({ domain, key }, upload, options) {
      checkKey(bytesOf(key))
      const body = { ...keyToJson(bytesOf(key)), ...upload }
      // If it is opened twice, the first upload simply expires.
      return request('POST', `${domainPath(domain)}/uploads`, {
        body,
        idempotent: true,
        ...options,
      })
    },

    commitUpload(ref, body, options) {
      const extraMs = body.makeCopies ? 20_000 + ((body.size ?? 0) / copyRate) * 1000 : 0
      const path = `${uploadPath(ref)}/commit`
      return request('POST', path, { body, idempotent: true, extraMs, ...options })
    },

    reportReplica: (body, options) => request('POST', '/v1/reports/replica', { body, ...options }),

    abandonUpload: (ref, options) =>
      request<void>('DELETE', uploadPath(ref), options).catch((err: unknown) => {
        if (!isCoded(err, 'no_upload')) throw err
      }),
  }
  return api
}
