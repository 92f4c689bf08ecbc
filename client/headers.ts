/** What is said of a file in the header fields of an answer. */
import type { FileEntry, LocatedFile } from './entries.ts'
import type { Range } from './replicas.ts'

/** Header fields that describe a file, by their names in lower case. */
export interface FileHeaders extends Record<string, string> {
  readonly 'content-type': string
  /** Strong: another content has another fid. */
  readonly etag: string
  readonly 'last-modified': string
}

/** With `repr-digest` (RFC 9530) where the SHA-256 is known. */
export interface ReproxyHeaders extends FileHeaders {
  readonly 'x-reproxy-url': string
  readonly 'x-reproxy-expected-size': string
}

type Described = Pick<FileEntry, 'contentType' | 'etag' | 'modifiedAt'>

/** What stays the same whichever part is sent. */
export const describe = ({ contentType, etag, modifiedAt }: Described): FileHeaders => ({
  'content-type': contentType ?? 'application/octet-stream',
  etag,
  'last-modified': modifiedAt.toUTCString(),
})

/** The fields of an answer whose body is the file, or this part of it. */
export function headersOf(file: Described & Pick<FileEntry, 'size'>, part?: Range): FileHeaders {
  const { start, end } = part ?? { start: 0, end: file.size }
  return {
    ...describe(file),
    'accept-ranges': 'bytes',
    'content-length': String(end - start),
    ...(part && start < end && { 'content-range': `bytes ${start}-${end - 1}/${file.size}` }),
  }
}

/** The fields with which an application behind the reproxy answers instead of the bytes. */
export const reproxyHeadersOf = (file: LocatedFile): ReproxyHeaders => ({
  'x-reproxy-url': file.urls.join(' '),
  'x-reproxy-expected-size': String(file.size),
  ...describe(file),
  ...(file.sha256 !== undefined && {
    'repr-digest': `sha-256=:${Buffer.from(file.sha256, 'hex').toString('base64')}:`,
  }),
})
