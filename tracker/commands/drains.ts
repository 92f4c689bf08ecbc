/**
 * Emptying devices. The state `drain` alone means what it does in MogileFS: no new files, and those
 * that are there stay. A device that was asked to be emptied is in that state, too, and gives its
 * files away until none is left.
 */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { insertDrain, listDrains, removeDrain, type DrainRow } from '../store/drains.ts'
import { requestReview, settledSeconds } from '../store/reviews.ts'

/** Devices that are to be emptied, and how far that is. */
export function drainProgress({ db }: Pick<Context, 'db'>): Promise<DrainRow[]> {
  return listDrains(db)
}

/** Asks for devices to be emptied, all or none. Throws invalid_state for one that is down or dead. */
async function drainAll(ctx: Context, devids: readonly number[], caller: Caller): Promise<void> {
  await ctx.db.transaction(async tx => {
    for (const devid of devids) {
      if (!(await insertDrain(tx, devid))) {
        throw new CodedError('invalid_state', `device ${devid} is not in service`)
      }
      await insertAudit(tx, caller, { action: 'device.drain', detail: { devid } })
    }
  })
  await ctx.cluster.refresh()
}

/** Asks for a device to be emptied. Throws no_device or invalid_state. */
export async function drainDevice(ctx: Context, devid: number, caller: Caller): Promise<void> {
  await ctx.cluster.refresh()
  if (!ctx.cluster.device(devid)) throw new CodedError('no_device', `no device ${devid}`)
  await drainAll(ctx, [devid], caller)
}

/** Asks for all devices of a host to be emptied but those that are dead. Throws host_not_found or invalid_state. */
export async function drainHost(ctx: Context, name: string, caller: Caller): Promise<void> {
  const devids = await devicesOf(ctx, name)
  await drainAll(
    ctx,
    devids.filter(devid => ctx.cluster.device(devid)?.status !== 'dead'),
    caller,
  )
}

/** Calls it off: the device is what it was before, and keeps the files it has. Throws no_device or not_draining. */
export async function undrainDevice(ctx: Context, devid: number, caller: Caller): Promise<void> {
  await ctx.cluster.refresh()
  if (!ctx.cluster.device(devid)) throw new CodedError('no_device', `no device ${devid}`)
  if (!(await undrainAll(ctx, [devid], caller))) {
    throw new CodedError('not_draining', `device ${devid} is not being drained`)
  }
}

/** Calls it off for all devices of a host. Throws host_not_found or not_draining. */
export async function undrainHost(ctx: Context, name: string, caller: Caller): Promise<void> {
  if (!(await undrainAll(ctx, await devicesOf(ctx, name), caller))) {
    throw new CodedError('not_draining', `no device of ${name} is being drained`)
  }
}

async function undrainAll(
  ctx: Context,
  devids: readonly number[],
  caller: Caller,
): Promise<boolean> {
  let found = false
  await ctx.db.transaction(async tx => {
    for (const devid of devids) {
      if (!(await removeDrain(tx, devid))) continue
      found = true
      await insertAudit(tx, caller, { action: 'device.undrain', detail: { devid } })
    }
    // Some files may be closer together than they need be from now on.
    if (found) await requestReview(tx, 'all', settledSeconds)
  })
  await ctx.cluster.refresh()
  return found
}

async function devicesOf(ctx: Context, name: string): Promise<number[]> {
  await ctx.cluster.refresh()
  const known = [...ctx.cluster.snapshot.hosts.values()].some(host => host.name === name)
  if (!known) throw new CodedError('host_not_found', `no host ${JSON.stringify(name)}`)
  return ctx.cluster.devices().flatMap(({ devid, host }) => (host.name === name ? [devid] : []))
}
