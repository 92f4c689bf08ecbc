/** Conditional reads (RFC 9110 §13): whether the content that is there is the one the caller means. */
import { CodedError } from '../common/errors.ts'
import type { FileInfo } from '../common/protocol/files.ts'

/** Values as they stand in the header fields of that name, so that a request's can be handed on. */
export interface Conditions {
  /** `If-None-Match`: one or more entity tags, or `*`. */
  readonly ifNoneMatch?: string | undefined
  /** Ignored beside `ifNoneMatch`; a `Date`, or the header field's text. */
  readonly ifModifiedSince?: Date | string | undefined
  /** `If-Match`: one or more entity tags, or `*`. */
  readonly ifMatch?: string | undefined
}

/** True when a condition says that it need not be sent. Throws precondition_failed for `ifMatch`. */
export function isNotModified(
  { fid, modifiedAt }: Pick<FileInfo, 'fid' | 'modifiedAt'>,
  { ifMatch, ifNoneMatch, ifModifiedSince }: Conditions,
): boolean {
  const etag = `"${fid}"`
  // A weak tag never matches here (RFC 9110 §8.8.3.2); it may below.
  if (ifMatch !== undefined && !tagsOf(ifMatch).includes(etag) && ifMatch.trim() !== '*') {
    throw new CodedError('precondition_failed', 'the key has another content')
  }
  if (ifNoneMatch !== undefined) {
    const tags = tagsOf(ifNoneMatch)
    return tags.includes(etag) || tags.includes(`W/${etag}`) || ifNoneMatch.trim() === '*'
  }
  if (ifModifiedSince === undefined) return false
  // HTTP dates have whole seconds. One that cannot be read is ignored: NaN compares false.
  const since = new Date(ifModifiedSince).getTime()
  return Math.floor(Date.parse(modifiedAt) / 1000) * 1000 <= since
}

const tagsOf = (field: string): string[] => field.match(/(?:W\/)?"[^"]*"/g) ?? []
