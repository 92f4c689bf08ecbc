/** What the functions of the tracker's API share: names of files, classes and pages, and paths. */
import { checkKey, encodeKey } from '../../common/keys.ts'

/** The key of a file, 1 to 1,024 bytes. A string stands for its UTF-8 bytes. */
export type Key = string | Uint8Array

/** Names one file. */
export interface FileRef {
  readonly domain: string
  readonly key: Key
}

/** What every call takes. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** One page of a listing. */
export interface ListQuery {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** Keys after this one; exclusive. */
  readonly after?: Key | undefined
  /** Keys that are the same up to this text are listed once, as a prefix. */
  readonly delimiter?: string | undefined
  /** Entries of this page, 1 to 1000. */
  readonly limit?: number | undefined
}

/** One page of deleted files. */
export interface TrashPage {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** Key of the last entry of the page before. */
  readonly after?: Key | undefined
  /** Fid of that entry; without it, all other contents of that key are skipped. */
  readonly afterFid?: number | undefined
  /** Entries of this page, 1 to 1000. */
  readonly limit?: number | undefined
}

/** Names a class of a domain. */
export interface ClassRef {
  readonly domain: string
  readonly name: string
}

/** Encodes one segment of a path. */
export const segment = encodeURIComponent

/** The path of a domain. */
export const domainPath = (domain: string): string => `/v1/domains/${segment(domain)}`

/** A key as bytes. */
export const bytesOf = (key: Key): Uint8Array => (typeof key === 'string' ? Buffer.from(key) : key)

/**
 * A key as a query. It is not in the path, since URL parsers change paths with `.` and `..`. Throws no_key or
 * key_too_long.
 */
export function keyQuery(key: Key): { key: string } {
  checkKey(bytesOf(key))
  return { key: encodeKey(key) }
}
