/** What an application does with files: the methods of a client, over one domain. */
import { CodedError, isCoded } from '../common/errors.ts'
import type { ChangeFile, Durability } from '../common/protocol.ts'
import { decodeKey } from '../common/keys.ts'
import { createSource, type PutBody } from './body.ts'
import { download, type ReadableFile } from './download.ts'
import { mergePage, toEntry, type FileEntry, type PrefixEntry } from './entries.ts'
import type { StorageClient } from './storage.ts'
import type { Progress } from './tee.ts'
import type { CallOptions, Key, TrackerApi } from './tracker.ts'
import { upload } from './upload.ts'

export interface PutOptions extends CallOptions {
  /** Bytes that the body has. Streams of known length go out with it, and are held to it. */
  readonly size?: number | undefined
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
  /** SHA-256 in hex that the body must have. */
  readonly sha256?: string | undefined
  /** Told how far the body has got. What it throws fails the put. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/** A file that was put. */
export interface PutResult extends FileEntry {
  /** Verified copies on disk at that moment. */
  readonly copies: number
  /** Why there are fewer copies than the durability asks, as in a cluster of one host. */
  readonly reduced?: string
}

export interface GetOptions extends CallOptions {
  /** First byte to read; 0. */
  readonly start?: number | undefined
  /** Where to stop, exclusive as in `slice`; the end of the file, which it may exceed. */
  readonly end?: number | undefined
  /** Compare the SHA-256 of a whole file; true. */
  readonly verify?: boolean | undefined
}

export interface ListOptions extends CallOptions {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** Only keys after this one, in the order of their bytes. */
  readonly after?: Key | undefined
  /** Most entries to yield; all. */
  readonly limit?: number | undefined
}

/** A file with the URLs of its replicas. */
export interface LocatedFile extends FileEntry {
  /** Best replica first. They are signed: whoever has one can read the file until `expiresAt`. */
  readonly urls: readonly string[]
  readonly expiresAt: Date
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
  /** Opens a file for reading. Throws unknown_key, no_replica, bad_args, range_not_satisfiable. */
  get(key: Key, options?: GetOptions): Promise<ReadableFile>
  /** What is known of a file. Throws unknown_key. */
  stat(key: Key, options?: CallOptions): Promise<FileEntry>
  exists(key: Key, options?: CallOptions): Promise<boolean>
  /**
   * Files in the byte order of their keys, fetched as they are consumed. With a `delimiter`, what
   * several keys have in common up to its first occurrence after the prefix comes once, as
   * `{ prefix }`: `'prefix' in entry` tells the two apart.
   */
  list(options?: ListOptions & { readonly delimiter?: undefined }): AsyncIterable<FileEntry>
  list(
    options: ListOptions & { readonly delimiter: string },
  ): AsyncIterable<FileEntry | PrefixEntry>
  /** Gives a file another key. Throws unknown_key; key_exists, since nothing is ever replaced. */
  rename(from: Key, to: Key, options?: CallOptions): Promise<FileEntry>
  /** Throws unknown_key when there is no such file. */
  delete(key: Key, options?: CallOptions): Promise<void>
  /**
   * Changes class, content type (`null` clears it) or metadata (all of it); the content stays.
   * Throws unknown_key, class_not_found, bad_metadata.
   */
  change(key: Key, change: ChangeFile, options?: CallOptions): Promise<FileEntry>
  /** Where a file can be read now. Throws unknown_key, no_replica. */
  locate(key: Key, options?: CallOptions): Promise<LocatedFile>
  /**
   * The headers with which an application behind the reproxy answers instead of the bytes, such as
   * `reply.headers(await files.reproxyHeaders(key)).send()`. Throws unknown_key, no_replica.
   */
  reproxyHeaders(key: Key, options?: CallOptions): Promise<ReproxyHeaders>
}

export interface ReproxyHeaders extends Record<string, string> {
  readonly 'x-reproxy-url': string
  readonly 'x-reproxy-expected-size': string
  readonly 'content-type': string
  /** Strong: another content has another fid. */
  readonly etag: string
  readonly 'last-modified': string
}

export interface FilesOptions {
  readonly api: TrackerApi
  readonly storage: StorageClient
  readonly domain: string
  /** Class and durability of puts that name none. */
  readonly class?: string | undefined
  readonly durability?: Durability | undefined
}

/** Entries asked for at once in a listing. */
const pageSize = 1000

/** Creates the methods over one domain; cheap. */
export function createFiles(options: FilesOptions): Files {
  const { api, storage, domain } = options
  const ref = (key: Key): { domain: string; key: Key } => ({ domain, key })

  async function locate(key: Key, { signal }: CallOptions = {}): Promise<LocatedFile> {
    const { expiresAt, ...located } = await api.locate(ref(key), { signal })
    if (located.urls.length === 0) {
      throw new CodedError('no_replica', `no replica of ${JSON.stringify(located.key)} can be read`)
    }
    return { ...toEntry(located), expiresAt: new Date(expiresAt) }
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
    async put(key, body, put = {}) {
      const { signal, onProgress, contentType, metadata, size } = put
      const className = put.class ?? options.class
      const durability = put.durability ?? options.durability
      const source = await createSource(body, size)
      try {
        const committed = await upload({
          api,
          storage,
          file: ref(key),
          source,
          fields: {
            ...(className !== undefined && { class: className }),
            ...(contentType !== undefined && { contentType }),
            ...(metadata !== undefined && { metadata }),
            ...(durability !== undefined && { durability }),
          },
          sha256: put.sha256?.toLowerCase(),
          signal,
          onProgress,
        })
        return toEntry(committed)
      } finally {
        source.discard()
      }
    },
    get: (key, { start = 0, end, verify = true, signal } = {}) =>
      download({
        storage,
        locate: () => api.locate(ref(key), { signal }),
        start,
        end,
        verify,
        signal,
      }),
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
    change: async (key, change, { signal } = {}) =>
      toEntry(await api.change(ref(key), change, { signal })),
    locate,
    async reproxyHeaders(key, { signal } = {}) {
      const { urls, size, contentType, fid, modifiedAt } = await locate(key, { signal })
      return {
        'x-reproxy-url': urls.join(' '),
        'x-reproxy-expected-size': String(size),
        'content-type': contentType ?? 'application/octet-stream',
        etag: `"${fid}"`,
        'last-modified': modifiedAt.toUTCString(),
      }
    },
  }
}
