/** Files as the SDK shows them: what the tracker tells, with times as `Date` and keys as bytes. */
import type { FileInfo, FileList } from '../common/protocol.ts'

/** A file as the tracker knows it. */
export interface FileEntry {
  readonly domain: string
  /** With `keyBytes` present only an approximation. */
  readonly key: string
  /** There when the key is not valid UTF-8. */
  readonly keyBytes?: Uint8Array
  /** Number of this content: another content under the same key has another. */
  readonly fid: number
  readonly class: string
  /** Bytes. */
  readonly size: number
  /** Lower-case hex; absent for a file of a MogileFS client that no scrub has read yet. */
  readonly sha256?: string
  readonly contentType?: string
  readonly metadata: Readonly<Record<string, string>>
  readonly createdAt: Date
  readonly modifiedAt: Date
  /** Devices that hold a replica. */
  readonly devids: readonly number[]
}

/** What the keys of several files have in common up to a delimiter, as a directory. */
export interface PrefixEntry {
  /** Ends with the delimiter. With `prefixBytes` present only an approximation. */
  readonly prefix: string
  /** There when the prefix is not valid UTF-8. */
  readonly prefixBytes?: Uint8Array
}

/** `info` with `Date`s and bytes; further fields stay as they are. */
export function toEntry<T extends FileInfo>(
  info: T,
): Omit<T, 'keyBytes' | 'createdAt' | 'modifiedAt'> &
  Pick<FileEntry, 'keyBytes' | 'createdAt' | 'modifiedAt'> {
  const { keyBytes, createdAt, modifiedAt, ...rest } = info
  return {
    ...rest,
    ...(keyBytes !== undefined && { keyBytes: Buffer.from(keyBytes, 'base64url') }),
    createdAt: new Date(createdAt),
    modifiedAt: new Date(modifiedAt),
  }
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
