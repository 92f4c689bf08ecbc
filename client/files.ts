/** What an application does with files: the methods of a client, over one domain. */
import { CodedError, isCoded } from '../common/errors.ts'
import { decodeKey } from '../common/keys.ts'
import type { ChangeFile, Durability, Located, OpenUpload } from '../common/protocol/files.ts'
import { deleteMany, locateMany, type DeletedMany, type Keys } from './batches.ts'
import { createSource, type PutBody } from './body.ts'
import { isNotModified, type Conditions } from './conditions.ts'
import { download, type ReadableFile } from './download.ts'
import {
  mergePage,
  toEntry,
  toLocated,
  type FileEntry,
  type LocatedFile,
  type PrefixEntry,
  type PutResult,
} from './entries.ts'
import { reproxyHeadersOf, type ReproxyHeaders } from './headers.ts'
import type { Reader } from './reader.ts'
import type { ReplicaReports } from './replica-reports.ts'
import type { StorageClient } from './storage.ts'
import type { Progress } from './lanes.ts'
import type { StoredUpload, UploadTicket } from './ticket.ts'
import { commitTicket, openTicket } from './tickets.ts'
import type { CallOptions, Key, TrackerApi } from './tracker-api/index.ts'
import { upload } from './upload.ts'

/** What is said of a file before it is there. */
export interface FileFields {
  /** Bytes that it has, and is held to. */
  readonly size?: number | undefined
  /** Media type, with which the file is served later; none: `application/octet-stream`. */
  readonly contentType?: string | undefined
  /** Replication class; the client's, or `default`. */
  readonly class?: string | undefined
  /** Up to 8 KiB of texts that stay with the file. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /**
   * When the put is OK: `fast` with one copy on disk, `safe` (the default) with two on different
   * hosts, `everywhere` with all that the class asks for. The remaining copies follow by themselves.
   */
  readonly durability?: Durability | undefined
}

/** How a file is put. */
export interface PutOptions extends FileFields, CallOptions {
  /** The body's own, where it has one. */
  readonly contentType?: string | undefined
  /** SHA-256 in hex that the body must have. */
  readonly sha256?: string | undefined
  /** Told how far the body has got. What it throws fails the put. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** How a file is read: a part of it, and under which conditions. */
export interface GetOptions extends CallOptions, Conditions {
  /** First byte to read; 0. */
  readonly start?: number | undefined
  /** Where to stop, exclusive as in `slice`; the end of the file, which it may exceed. */
  readonly end?: number | undefined
  /** Compare the SHA-256 of a whole file; true. */
  readonly verify?: boolean | undefined
}

/** Which files are listed. */
export interface ListOptions extends CallOptions {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** Only keys after this one, in the order of their bytes. */
  readonly after?: Key | undefined
  /** Most entries to yield; all. */
  readonly limit?: number | undefined
}

/**
 * The files of one domain. Keys are texts, or bytes where they are not UTF-8. Failures are
 * `CodedError`s; besides those named below every method may throw unauthorized, forbidden,
 * unreg_domain, no_key, key_too_long, and tracker_unreachable or database_unavailable, after which
 * the work is not done, or done completely. An aborted `signal` rejects with its reason.
 */
export interface Files {
  /**
   * Stores `body` under `key`, replacing what is there. All of it or nothing: a body that fails, has
   * another length or digest than given, or is aborted leaves what was there. Once the commit is
   * sent a signal no longer matters. A stream is read once, and destroyed when the put fails; text,
   * bytes, blobs and `{ file }` are sent again where that saves the put.
   *
   * Throws unreg_class, bad_metadata, no_devices, size_mismatch, checksum_mismatch, bad_args, the
   * body's own error, storage_unreachable or insufficient_storage (no node took it), or
   * not_enough_copies.
   */
  put(key: Key, body: PutBody, options?: PutOptions): Promise<PutResult>
  /**
   * Opens a file for reading. With `ifNoneMatch` or `ifModifiedSince`: undefined when the caller has
   * this content already. Throws unknown_key, precondition_failed (for `ifMatch`), no_replica,
   * bad_args, range_not_satisfiable.
   */
  get(key: Key, options?: GetOptions & Unconditional): Promise<ReadableFile>
  /** The same under conditions, so that there may be nothing to read. */
  get(key: Key, options: GetOptions): Promise<ReadableFile | undefined>
  /** What is known of a file. Throws unknown_key. */
  stat(key: Key, options?: CallOptions): Promise<FileEntry>
  /** Whether there is such a file: `stat` without unknown_key. */
  exists(key: Key, options?: CallOptions): Promise<boolean>
  /**
   * Files in the byte order of their keys, fetched as they are consumed. With a `delimiter`, what
   * several keys have in common up to its first occurrence after the prefix comes once, as
   * `{ prefix }`: `'prefix' in entry` tells the two apart.
   */
  list(options?: ListOptions & { readonly delimiter?: undefined }): AsyncIterable<FileEntry>
  /** The same, with what is below a delimiter as one entry. */
  list(
    options: ListOptions & { readonly delimiter: string },
  ): AsyncIterable<FileEntry | PrefixEntry>
  /** Gives a file another key. Throws unknown_key; key_exists, since nothing is ever replaced. */
  rename(from: Key, to: Key, options?: CallOptions): Promise<FileEntry>
  /** Throws unknown_key when there is no such file. */
  delete(key: Key, options?: CallOptions): Promise<void>
  /**
   * Deletes many files, a thousand at a time, however many there are: an array of keys, or a listing.
   * What it throws leaves some deleted; going on from there is calling it again.
   */
  deleteMany(keys: Keys, options?: CallOptions): Promise<DeletedMany>
  /**
   * Changes class, content type (`null` clears it) or metadata (all of it); the content stays.
   * Throws unknown_key, class_not_found, bad_metadata.
   */
  change(key: Key, change: ChangeFile, options?: CallOptions): Promise<FileEntry>
  /** Where a file can be read now. Throws unknown_key, no_replica. */
  locate(key: Key, options?: CallOptions): Promise<LocatedFile>
  /**
   * Where many files can be read, in the order of the keys, fetched a thousand at a time as they are
   * consumed; undefined for one that is not there, and no URLs while no replica can be read.
   */
  locateMany(keys: Keys, options?: CallOptions): AsyncIterable<LocatedFile | undefined>
  /**
   * A URL with which anyone can GET the file from a storage node until `expiresAt`. The node says
   * nothing of its type: for a page, answer through the reproxy. Throws unknown_key, no_replica.
   */
  signedGet(key: Key, options?: CallOptions): Promise<SignedGet>
  /**
   * Lets somebody else upload the file: `upload` of omgfiles/browser takes what this returns, as JSON,
   * and gives what `commitPut` takes. It holds for this key and once; what is not committed in time
   * is deleted. Throws unreg_class, bad_metadata, no_devices.
   */
  signedPut(key: Key, options?: FileFields & CallOptions): Promise<UploadTicket>
  /**
   * Makes an upload by ticket the content of its key, once the copies of its durability are there.
   * Called again, it answers the same. Throws bad_args, bad_receipt, no_upload, size_mismatch,
   * not_enough_copies.
   */
  commitPut(
    stored: Pick<StoredUpload, 'upload' | 'receipt'>,
    options?: CallOptions,
  ): Promise<PutResult>
  /** Gives an upload by ticket up before it expires. One that is gone already is no error. */
  abandonPut(upload: string, options?: CallOptions): Promise<void>
  /**
   * The headers with which an application behind the reproxy answers instead of the bytes, such as
   * `reply.headers(await files.reproxyHeaders(key)).send()`. Throws unknown_key, no_replica.
   */
  reproxyHeaders(key: Key, options?: CallOptions): Promise<ReproxyHeaders>
}

export interface FilesOptions {
  readonly api: TrackerApi
  readonly storage: StorageClient
  readonly reader: Reader
  readonly reports: ReplicaReports
  readonly domain: string
  /** Class and durability of puts that name none. */
  readonly class?: string | undefined
  readonly durability?: Durability | undefined
}

/** Without the conditions under which there is nothing to read. */
export interface Unconditional {
  readonly ifNoneMatch?: undefined
  readonly ifModifiedSince?: undefined
}

/** A URL that reads a file. */
export interface SignedGet {
  readonly url: string
  readonly expiresAt: Date
}

/** Entries asked for at once in a listing. */
const pageSize = 1000

/** Creates the methods over one domain; cheap. */
export function createFiles(options: FilesOptions): Files {
  const { api, storage, reader, reports, domain } = options
  const ref = (key: Key): { domain: string; key: Key } => ({ domain, key })

  async function locate(key: Key, { signal }: CallOptions = {}): Promise<LocatedFile> {
    const located = toLocated(await api.locate(ref(key), { signal }))
    if (located.urls.length === 0) throw unreadable(located.key)
    return located
  }

  function fieldsOf(given: FileFields): Omit<OpenUpload, 'key' | 'keyBytes'> {
    const { size, contentType, metadata } = given
    const className = given.class ?? options.class
    const durability = given.durability ?? options.durability
    return {
      ...(size !== undefined && { size }),
      ...(className !== undefined && { class: className }),
      ...(contentType !== undefined && { contentType }),
      ...(metadata !== undefined && { metadata }),
      ...(durability !== undefined && { durability }),
    }
  }

  async function get(
    key: Key,
    { start = 0, end, verify = true, signal, ...conditions }: GetOptions = {},
  ): Promise<ReadableFile | undefined> {
    const locate = (): Promise<Located> => api.locate(ref(key), { signal })
    const located = await locate()
    if (isNotModified(located, conditions)) return undefined
    const part = { start, end, verify, signal, conditions }
    return await download({ reader, reports, located, locate, ...part })
  }

  async function* list({
    limit = Infinity,
    signal,
    ...query
  }: ListOptions & { readonly delimiter?: string | undefined } = {}) {
    let left = limit
    let { after } = query
    while (left > 0) {
      const page = { ...query, after, limit: Math.min(left, pageSize) }
      const found = await api.list(domain, page, { signal })
      const entries = mergePage(found).slice(0, left)
      yield* entries
      left -= entries.length
      if (found.next === undefined) return
      after = decodeKey(found.next)
    }
  }

  return {
    async put(key, body, { sha256, signal, onProgress, ...fields } = {}) {
      const source = await createSource(body, fields.size)
      const { size } = source
      const contentType = fields.contentType ?? source.contentType
      try {
        const committed = await upload({
          api,
          storage,
          file: ref(key),
          source,
          fields: fieldsOf({ ...fields, size, contentType }),
          sha256: sha256?.toLowerCase(),
          signal,
          onProgress,
        })
        return toEntry(committed)
      } finally {
        source.discard()
      }
    },
    get: get as Files['get'], // without a condition there is always a file
    stat: async (key, { signal } = {}) => toEntry(await api.stat(ref(key), { signal })),
    async exists(key, { signal } = {}) {
      try {
        await api.stat(ref(key), { signal })
        return true
      } catch (err) {
        if (isCoded(err, 'unknown_key')) return false
        throw err
      }
    },
    list: list as Files['list'], // without a delimiter there are no prefixes
    rename: async (from, to, { signal } = {}) =>
      toEntry(await api.rename(ref(from), to, { signal })),
    delete: (key, { signal } = {}) => api.remove(ref(key), { signal }),
    deleteMany: (keys, { signal } = {}) => deleteMany(api, domain, { keys, signal }),
    change: async (key, change, { signal } = {}) =>
      toEntry(await api.change(ref(key), change, { signal })),
    locate,
    locateMany: (keys, { signal } = {}) => locateMany(api, domain, { keys, signal }),
    async signedGet(key, call) {
      const { urls, expiresAt, key: name } = await locate(key, call)
      const [url] = urls
      if (url === undefined) throw unreadable(name)
      return { url, expiresAt }
    },
    signedPut: (key, { signal, ...fields } = {}) =>
      openTicket(api, ref(key), { fields: fieldsOf(fields), signal }),
    commitPut: (stored, { signal } = {}) => commitTicket(api, domain, { stored, signal }),
    abandonPut: (id, { signal } = {}) => api.abandonUpload({ domain, upload: id }, { signal }),
    reproxyHeaders: async (key, call) => reproxyHeadersOf(await locate(key, call)),
  }
}

const unreadable = (key: string): CodedError =>
  new CodedError('no_replica', `no replica of ${JSON.stringify(key)} can be read`)
