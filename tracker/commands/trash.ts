/** Deleted files that can be had back. */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { seeSize } from '../cluster/inspect.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { isUniqueViolation } from '../store/db.ts'
import { fileKey, type FileRow } from '../store/files.ts'
import {
  emptyTrash,
  findTrash,
  listTrash,
  restoreTrash,
  type TrashRange,
  type TrashRow,
} from '../store/trash.ts'
import { getConfiguredDomain } from './domains.ts'
import { statFile, type FileRef } from './files.ts'
import { getDomain, getFileKey } from './lookup.ts'

/** Milliseconds in which one of the replicas has to show up. */
const lookMs = 10_000

/** One page of what can be had back of a domain. Throws no_domain or unreg_domain. */
export async function listDeleted(
  ctx: Context,
  { domain, ...range }: { readonly domain: string } & Omit<TrashRange, 'domainId'>,
): Promise<TrashRow[]> {
  const { id: domainId } = await getDomain(ctx, domain)
  return listTrash(ctx.db, { domainId, ...range })
}

/**
 * Has a deleted file back under its key: the one deleted last, or the one of `fid`. Throws no_key,
 * unknown_key when there is none, key_exists when the key is taken, no_replica when none of its
 * replicas can be seen now.
 */
export async function undeleteFile(
  ctx: Context,
  { domain, key, fid }: FileRef & { readonly fid?: number | undefined },
  caller: Caller,
): Promise<FileRow> {
  const ref = await getFileKey(ctx, { domain, key })
  const taken = new CodedError('key_exists', 'the key is taken by another file')
  if (await ctx.names.findFile(ref)) throw taken
  const found = await findTrash(ctx.db, fileKey(ref.domainId, key), fid)
  const unknown = new CodedError('unknown_key', 'no deleted file of that name can be restored')
  if (!found) throw unknown
  if (!(await isThere(ctx, found))) {
    throw new CodedError('no_replica', 'none of its replicas can be reached now')
  }
  try {
    if (!(await restoreTrash(ctx.db, found, caller))) throw unknown
  } catch (err) {
    throw isUniqueViolation(err) ? taken : err
  }
  ctx.wake('replicate')
  return statFile(ctx, { domain, key })
}

async function isThere(ctx: Context, { fid, size, devids }: TrashRow): Promise<boolean> {
  const signal = AbortSignal.timeout(lookMs)
  const looks = devids.map(devid => seeSize(ctx, { fid, devid }, signal))
  for (const look of looks) {
    const seen = await look.catch(() => undefined)
    if (seen?.kind === 'there' && seen.size === size) return true
  }
  return false
}

/** Lets go of all that can be had back of a domain, and returns how many files. Throws domain_not_found. */
export async function purgeTrash(ctx: Context, name: string, caller: Caller): Promise<number> {
  const { id: domainId } = await getConfiguredDomain(ctx, name)
  const count = await ctx.db.transaction(async tx => {
    const gone = await emptyTrash(tx, domainId)
    await insertAudit(tx, caller, { action: 'trash.empty', domainId, detail: { files: gone } })
    return gone
  })
  ctx.wake('delete')
  return count
}
