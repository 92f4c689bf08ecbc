/** What the functions of the tracker's API share: how files and pages are named, and their paths. */
import { checkKey, encodeKey } from '../../common/keys.ts'

/** A file's name: text is its UTF-8 bytes. 1 to 1,024 bytes. */
export type Key = string | Uint8Array

/** Names one file. */
export interface FileRef {
  readonly domain: string
  readonly key: Key
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** One page of a listing. */
export interface ListQuery {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** Keys after this one; exclusive. */
  readonly after?: Key | undefined
  /** What keys have in common up to this text comes once. */
  readonly delimiter?: string | undefined
  /** Entries of this page, 1 to 1000. */
  readonly limit?: number | undefined
}

/** One page of deleted files. */
export interface TrashPage {
  /** Only keys that begin with this. */
  readonly prefix?: Key | undefined
  /** The last entry of the page before; without its fid, all contents of that key are left out. */
  readonly after?: Key | undefined
  readonly afterFid?: number | undefined
  /** Entries of this page, 1 to 1000. */
  readonly limit?: number | undefined
}

/** Names a class of a domain. */
export interface ClassRef {
  readonly domain: string
  readonly name: string
}

/** A part of a path. */
export const segment = encodeURIComponent

/** The path of a domain. */
export const domainPath = (domain: string): string => `/v1/domains/${segment(domain)}`

/** A key as bytes. */
export const bytesOf = (key: Key): Uint8Array => (typeof key === 'string' ? Buffer.from(key) : key)

/** A key as a query; URL parsers fold `.` and `..` in a path. Throws no_key, key_too_long. */
export function keyQuery(key: Key): { key: string } {
  checkKey(bytesOf(key))
  return { key: encodeKey(key) }
}
