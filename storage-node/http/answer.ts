/** What GET, HEAD and PUT of a file answer with, on whichever way they came. */
import { formatDigests } from '../digests/digests.ts'
import type { Written } from '../writing/body.ts'
import type { OpenFile } from '../disk/open-files.ts'
import type { ByteRange } from './range.ts'
import { signReceipt, type HostKeys } from '../../common/signing.ts'

/** Names and values, in the order in which they are sent. */
export type Fields = Record<string, string>

/** Status and fields of an answer that holds a file or a part of it. */
export function fileAnswer(
  { size, modifiedAt }: Pick<OpenFile, 'size' | 'modifiedAt'>,
  range: ByteRange | undefined,
): { status: 200 | 206; fields: Fields } {
  const length = range ? range.last - range.first + 1 : size
  const fields: Fields = {
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(length),
    'Last-Modified': modifiedAt.toUTCString(),
    'Accept-Ranges': 'bytes',
    'X-Content-Type-Options': 'nosniff',
  }
  if (!range) return { status: 200, fields }
  fields['Content-Range'] = `bytes ${range.first}-${range.last}/${size}`
  return { status: 206, fields }
}

/** Fields that say what was stored: a receipt where there is a key and a fid, and the digests. */
export function storedFields(
  { size, digests }: Written,
  key: HostKeys | undefined,
  { devid, fid }: { readonly devid: number; readonly fid: number | undefined },
): Fields {
  const fields: Fields = { 'Repr-Digest': formatDigests(digests) }
  if (!key || fid === undefined) return fields
  const sha256 = digests.sha256.toString('hex')
  fields['Omg-Receipt'] = signReceipt(key, { fid, devid, size, sha256 })
  return fields
}
