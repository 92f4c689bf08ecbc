/** Uploads that somebody else makes, such as a browser: opened and committed by the application. */
import { CodedError } from '../common/errors.ts'
import type { OpenUpload } from '../common/protocol/files.ts'
import { parseReceipt } from '../common/signing.ts'
import { toEntry, type PutResult } from './entries.ts'
import type { StoredUpload, UploadTicket } from './ticket.ts'
import type { CallOptions, FileRef, TrackerApi } from './tracker-api/index.ts'

/** Opens an upload and returns what the one who makes it needs. */
export async function openTicket(
  api: TrackerApi,
  file: FileRef,
  { fields, ...options }: { readonly fields: Omit<OpenUpload, 'key' | 'keyBytes'> } & CallOptions,
): Promise<UploadTicket> {
  const { upload, targets, expiresAt } = await api.openUpload(file, fields, options)
  const { size } = fields
  return {
    upload,
    targets: targets.map(({ devid, url }) => ({ devid, url })),
    ...(size !== undefined && { size }),
    expiresAt,
  }
}

/**
 * Commits what was stored; the tracker makes the copies that the durability lacks. The receipt alone
 * counts, since it cannot be forged: `stored` comes from outside. Throws bad_args without one.
 */
export async function commitTicket(
  api: TrackerApi,
  domain: string,
  {
    stored,
    ...options
  }: { readonly stored: Pick<StoredUpload, 'upload' | 'receipt'> } & CallOptions,
): Promise<PutResult> {
  const { upload, receipt } = stored
  const told = typeof receipt === 'string' ? parseReceipt(receipt) : undefined
  if (!told || typeof upload !== 'string') {
    throw new CodedError('bad_args', 'a commit needs the upload and a receipt')
  }
  const { devid, size, sha256 } = told
  const commit = { copies: [{ devid, receipt }], size, sha256, makeCopies: true }
  return toEntry(await api.commitUpload({ domain, upload }, commit, options))
}
