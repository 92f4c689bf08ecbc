/** Cluster-wide settings. */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { isNumberSetting } from '../cluster/snapshot.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { putSetting, removeSetting } from '../store/settings.ts'

/** Every setting that was set. */
export function listSettings({ cluster }: Pick<Context, 'cluster'>): ReadonlyMap<string, string> {
  return cluster.snapshot.settings
}

/** Sets a setting. Throws not_writable for an unknown one, invalid_format for a wrong value. */
export async function setSetting(
  ctx: Context,
  { name, value }: { name: string; value: string },
  caller: Caller,
): Promise<void> {
  checkName(name)
  if (!/^\d{1,9}$/.test(value)) {
    throw new CodedError(
      'invalid_format',
      `${name} is a whole number, not ${JSON.stringify(value)}`,
    )
  }
  await ctx.db.transaction(async tx => {
    await putSetting(tx, name, value)
    await insertAudit(tx, caller, { action: 'setting.set', detail: { name, value } })
  })
  await ctx.cluster.refresh()
}

/** Takes a setting back to its default. Throws not_writable for an unknown one. */
export async function unsetSetting(ctx: Context, name: string, caller: Caller): Promise<void> {
  checkName(name)
  await ctx.db.transaction(async tx => {
    await removeSetting(tx, name)
    await insertAudit(tx, caller, { action: 'setting.unset', detail: { name } })
  })
  await ctx.cluster.refresh()
}

function checkName(name: string): void {
  if (!isNumberSetting(name)) {
    throw new CodedError('not_writable', `there is no setting ${JSON.stringify(name)}`)
  }
}
