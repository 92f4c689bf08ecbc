/** Whether a replica is what it should be, by looking at all of its bytes where anything is known of them. */
import { queueWholeChecks } from '../store/checks.ts'
import type { FileRow } from '../store/files.ts'
import type { Context } from './context.ts'
import type { CopyError } from './copy.ts'
import { isSilence, seeDigest, seeSize } from './inspect.ts'

export type Known = Pick<FileRow, 'fid' | 'slot' | 'size' | 'sha256' | 'hashtype' | 'checksum'>

export type Verified =
  { readonly kind: 'good' } | { readonly kind: 'bad' | 'unknown'; readonly why: string }

/**
 * Compares the length of a file's replica on a device, and its digest where one is known. `unknown`: it
 * cannot be looked at now. A file with a bad one is to be checked. Throws the signal's reason, and
 * database_unavailable.
 */
export async function verifyReplica(
  ctx: Context,
  file: Known,
  devid: number,
  signal: AbortSignal,
): Promise<Verified> {
  const seen = await look(ctx, file, devid, signal)
  if (seen.kind === 'bad') {
    await queueWholeChecks(ctx.db, [file], { read: true })
    ctx.wake('fsck')
  }
  return seen
}

/**
 * Looks at a replica that could not be copied, unless its node kept silent; at the first try only, since
 * where nodes do not reach each other all copies fail. Throws what `verifyReplica` throws.
 */
export async function verifySource(
  ctx: Context,
  file: Known & { readonly attempts: number },
  { devid, cause }: CopyError,
  signal: AbortSignal,
): Promise<void> {
  if (file.attempts === 1 && !isSilence(cause)) await verifyReplica(ctx, file, devid, signal)
}

async function look(
  ctx: Context,
  file: Known,
  devid: number,
  signal: AbortSignal,
): Promise<Verified> {
  const { fid } = file
  const bad = (why: string): Verified => ({ kind: 'bad', why: `device ${devid}: ${why}` })
  const sized = await seeSize(ctx, { fid, devid }, signal)
  if (sized.kind === 'unreachable') return { kind: 'unknown', why: sized.why }
  if (sized.kind === 'missing') return bad('the replica is missing')
  if (sized.size !== file.size) return bad(`${sized.size} bytes, not ${file.size}`)
  const expected = file.sha256 ?? file.checksum
  if (!expected) return { kind: 'good' }
  const algorithm = file.sha256 ? 'sha256' : file.hashtype === 1 ? 'md5' : 'sha1'
  const seen = await seeDigest(ctx, { fid, devid }, algorithm, signal)
  switch (seen.kind) {
    case 'digest':
      return seen.hex === expected.toString('hex') ? { kind: 'good' } : bad('its bytes are others')
    case 'missing':
      return bad('the replica is missing')
    case 'unreadable':
      return bad(seen.why)
    case 'unreachable':
      return { kind: 'unknown', why: seen.why }
  }
}
