/** Files as the SDK shows them: what the tracker tells, with times as `Date` and keys as bytes. */
import type { FileInfo, FileList, Located } from '../common/protocol/files.ts'

/** A file as the tracker knows it. */
export interface FileEntry {
  readonly domain: string
  /** With `keyBytes` present only an approximation. */
  readonly key: string
  /** There when the key is not valid UTF-8. */
  readonly keyBytes?: Uint8Array
  /** Number of this content: another content under the same key has another. */
  readonly fid: number
  /** Strong entity tag of this content, with its quotes. */
  readonly etag: string
  /** Replication class. */
  readonly class: string
  /** Bytes. */
  readonly size: number
  /** Lower-case hex; absent for a file of a MogileFS client that no scrub has read yet. */
  readonly sha256?: string
  /** Absent: nobody said. */
  readonly contentType?: string
  /** Texts that were put with it, or changed since. */
  readonly metadata: Readonly<Record<string, string>>
  /** When this content was committed. */
  readonly createdAt: Date
  /** When content, class, type or metadata changed last. */
  readonly modifiedAt: Date
  /** Devices that hold a replica. */
  readonly devids: readonly number[]
}

/** A file with the URLs of its replicas. */
export interface LocatedFile extends FileEntry {
  /** Best replica first. They are signed: whoever has one can read the file until `expiresAt`. */
  readonly urls: readonly string[]
  /** When the URLs end. */
  readonly expiresAt: Date
}

/** What the keys of several files have in common up to a delimiter, as a directory. */
export interface PrefixEntry {
  /** Ends with the delimiter. With `prefixBytes` present only an approximation. */
  readonly prefix: string
  /** There when the prefix is not valid UTF-8. */
  readonly prefixBytes?: Uint8Array
}

/** `info` with `Date`s, bytes and its entity tag; further fields stay as they are. */
export function toEntry<T extends FileInfo>(
  info: T,
): Omit<T, 'keyBytes' | 'createdAt' | 'modifiedAt'> &
  Pick<FileEntry, 'keyBytes' | 'createdAt' | 'modifiedAt' | 'etag'> {
  const { keyBytes, createdAt, modifiedAt, ...rest } = info
  return {
    ...rest,
    etag: `"${rest.fid}"`,
    ...(keyBytes !== undefined && { keyBytes: Buffer.from(keyBytes, 'base64url') }),
    createdAt: new Date(createdAt),
    modifiedAt: new Date(modifiedAt),
  }
}

/** A file as it was located, likewise. */
export function toLocated({ expiresAt, ...located }: Located): LocatedFile {
  return { ...toEntry(located), expiresAt: new Date(expiresAt) }
}

/** One page of a listing, files and prefixes together in the order of their bytes. */
export function mergePage({ files, prefixes }: FileList): (FileEntry | PrefixEntry)[] {
  const byFile = files.map(file => ({ at: bytesOf(file), entry: toEntry(file) }))
  if (prefixes.length === 0) return byFile.map(({ entry }) => entry)
  const byPrefix = prefixes.map(({ key, keyBytes }) => {
    const at = bytesOf({ key, keyBytes })
    return { at, entry: { prefix: key, ...(keyBytes !== undefined && { prefixBytes: at }) } }
  })
  return [...byFile, ...byPrefix]
    .sort((a, b) => Buffer.compare(a.at, b.at))
    .map(({ entry }) => entry)
}

function bytesOf({ key, keyBytes }: { key: string; keyBytes?: string | undefined }): Buffer {
  return keyBytes === undefined ? Buffer.from(key) : Buffer.from(keyBytes, 'base64url')
}

/** A file that was put. */
export interface PutResult extends FileEntry {
  /** Verified copies on disk at that moment. */
  readonly copies: number
  /** Why there are fewer copies than the durability asks, as in a cluster of one host. */
  readonly reduced?: string
}
