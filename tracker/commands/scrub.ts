/** Reading all replicas, comparing devices with the database, and what could not be mended. */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { listDamage, type DamagedFile } from '../store/checks.ts'
import { insertScrub, listScrubs, removeScrub, type ScrubRow } from '../store/scrub.ts'
import { listSweeps, type SweepRow } from '../store/sweep.ts'
import { getConfiguredDomain } from './domains.ts'
import { getFileClass } from './lookup.ts'

type Database = Pick<Context, 'db'>

/** The reading that never ends, and those that were asked for, newest first. */
export function scrubs({ db }: Database): Promise<ScrubRow[]> {
  return listScrubs(db)
}

export interface ScrubArgs {
  readonly domain?: string | undefined
  readonly class?: string | undefined
  readonly devid?: number | undefined
}

/**
 * Has all replicas read that there are now, or those of a domain, of one of its classes, or on a
 * device. Throws bad_params for a class without a domain, domain_not_found, class_not_found,
 * no_device.
 */
export async function beginScrub(ctx: Context, args: ScrubArgs, caller: Caller): Promise<ScrubRow> {
  if (args.class !== undefined && args.domain === undefined) {
    throw new CodedError('bad_params', 'a class is one of a domain')
  }
  const domain = args.domain === undefined ? null : await getConfiguredDomain(ctx, args.domain)
  const row =
    domain && args.class !== undefined
      ? await getFileClass(ctx, { domain, name: args.class }, 'class_not_found')
      : null
  const { devid } = args
  if (devid !== undefined && !ctx.cluster.device(devid)) {
    throw new CodedError('no_device', `no device ${devid}`)
  }
  const scope = { domainId: domain?.id ?? null, classId: row?.id ?? null, devid: devid ?? null }
  return ctx.db.transaction(async tx => {
    const scrub = await insertScrub(tx, scope)
    await insertAudit(tx, caller, { action: 'scrub.start', detail: { id: scrub.id, ...args } })
    return scrub
  })
}

/** Calls a reading off that was asked for, or forgets it. Throws scrub_not_found. */
export async function endScrub({ db }: Database, id: number, caller: Caller): Promise<void> {
  await db.transaction(async tx => {
    if (!(await removeScrub(tx, id))) {
      throw new CodedError('scrub_not_found', `there is no scrub ${id}`)
    }
    await insertAudit(tx, caller, { action: 'scrub.stop', detail: { id } })
  })
}

/** How far the comparison of each device with the database is. */
export function sweeps({ db }: Database): Promise<SweepRow[]> {
  return listSweeps(db)
}

/** Files that cannot be mended, by fid. */
export function damagedFiles(
  { db }: Database,
  range: { readonly after: number; readonly limit: number },
): Promise<DamagedFile[]> {
  return listDamage(db, range)
}
