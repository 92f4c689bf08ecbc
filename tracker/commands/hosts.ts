/** Hosts and devices. A change is audited in its transaction; the monitor looks at once after it. */
import { isIP } from 'node:net'
import { CodedError } from '../../common/errors.ts'
import type { ChangeHost, DeviceStatus, NewHost } from '../../common/protocol.ts'
import type { Context } from '../cluster/context.ts'
import type { Device } from '../policy/device.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { isUniqueViolation } from '../store/db.ts'
import {
  insertDevice,
  insertHost,
  removeHost,
  updateDevice,
  updateHost,
  type HostRow,
} from '../store/hosts.ts'
import { findHost } from './lookup.ts'

/** Every host, by id. */
export function listHosts({ cluster }: Pick<Context, 'cluster'>): HostRow[] {
  return [...cluster.snapshot.hosts.values()]
}

/** Creates a host, `down` unless told otherwise. Throws host_exists, dup or bad_params. */
export async function createHost(ctx: Context, args: NewHost, caller: Caller): Promise<HostRow> {
  const host = {
    status: 'down' as const,
    getPort: null,
    altip: null,
    altmask: null,
    zone: null,
    ...args,
  }
  checkAddresses(host)
  await ctx.cluster.refresh()
  if (findHost(ctx, args.name)) {
    throw new CodedError('host_exists', `there is a host ${JSON.stringify(args.name)}`)
  }
  await conflictAs('dup', 'another host has that name or address', () =>
    ctx.db.transaction(async tx => {
      await insertHost(tx, host)
      await insertAudit(tx, caller, { action: 'host.create', detail: host })
    }),
  )
  await applied(ctx)
  return getHost(ctx, args.name)
}

/** Changes what is named of a host. Throws host_not_found, dup or bad_params. */
export async function changeHost(
  ctx: Context,
  { name, ...change }: { readonly name: string } & ChangeHost,
  caller: Caller,
): Promise<HostRow> {
  await ctx.cluster.refresh()
  const host = { ...getHost(ctx, name), ...change }
  checkAddresses(host)
  await conflictAs('dup', 'another host has that address', () =>
    ctx.db.transaction(async tx => {
      await updateHost(tx, host)
      await insertAudit(tx, caller, { action: 'host.change', detail: { name, ...change } })
    }),
  )
  await applied(ctx)
  return getHost(ctx, name)
}

/** Removes a host without devices. Throws unknown_host or host_not_empty. */
export async function deleteHost(ctx: Context, name: string, caller: Caller): Promise<void> {
  await ctx.cluster.refresh()
  const host = findHost(ctx, name)
  if (!host) throw new CodedError('unknown_host', `no host ${JSON.stringify(name)}`)
  if (ctx.cluster.devices().some(device => device.host.id === host.id)) {
    throw new CodedError('host_not_empty', `${name} still has devices`)
  }
  await ctx.db.transaction(async tx => {
    await removeHost(tx, host.id)
    await insertAudit(tx, caller, { action: 'host.delete', detail: { name } })
  })
  await applied(ctx)
}

/** The host called `name`. Throws no_host or host_not_found. */
export function getHost(ctx: Pick<Context, 'cluster'>, name: string): HostRow {
  if (name === '') throw new CodedError('no_host', 'no host given')
  const host = findHost(ctx, name)
  if (!host) throw new CodedError('host_not_found', `no host ${JSON.stringify(name)}`)
  return host
}

/** The secret of the storage node called `name`, for its operator. The host need not exist yet. */
export async function getHostSecret(ctx: Context, name: string, caller: Caller): Promise<string> {
  await insertAudit(ctx.db, caller, { action: 'host.key', detail: { name } })
  return ctx.urls.secretOf(name)
}

/** Creates a device. Throws unknown_host, invalid_devid or existing_devid. */
export async function createDevice(
  ctx: Context,
  args: { devid: number; host: string; status?: DeviceStatus; weight?: number },
  caller: Caller,
): Promise<Device> {
  const { devid, status = 'alive', weight = 100 } = args
  if (!(Number.isInteger(devid) && devid >= 1 && devid < 2 ** 31)) {
    throw new CodedError('invalid_devid', `no device can be number ${devid}`)
  }
  await ctx.cluster.refresh()
  const host = findHost(ctx, args.host)
  if (!host) throw new CodedError('unknown_host', `no host ${JSON.stringify(args.host)}`)
  await conflictAs('existing_devid', `there is a device ${devid}`, () =>
    ctx.db.transaction(async tx => {
      await insertDevice(tx, { devid, hostId: host.id, status, weight })
      const detail = { devid, host: host.name, status, weight }
      await insertAudit(tx, caller, { action: 'device.create', detail })
    }),
  )
  await applied(ctx)
  return getDevice(ctx, devid)
}

/** Changes a device's state or weight. Throws no_device or state_too_high. */
export async function changeDevice(
  ctx: Context,
  { devid, ...change }: { devid: number; status?: DeviceStatus; weight?: number },
  caller: Caller,
): Promise<Device> {
  await ctx.cluster.refresh()
  const device = getDevice(ctx, devid)
  if (device.status === 'dead' && change.status === 'alive') {
    throw new CodedError('state_too_high', 'a dead device has to be marked down first')
  }
  await ctx.db.transaction(async tx => {
    await updateDevice(tx, {
      devid,
      status: change.status ?? device.status,
      weight: change.weight ?? device.weight,
    })
    await insertAudit(tx, caller, { action: 'device.change', detail: { devid, ...change } })
  })
  await applied(ctx)
  return getDevice(ctx, devid)
}

function getDevice(ctx: Context, devid: number): Device {
  const device = ctx.cluster.device(devid)
  if (!device) throw new CodedError('no_device', `no device ${devid}`)
  return device
}

/** Makes this tracker's next command see the change, and know whether the devices answer. */
async function applied(ctx: Context): Promise<void> {
  await ctx.cluster.refresh()
  await ctx.monitorRound()
}

async function conflictAs(
  code: 'dup' | 'existing_devid',
  message: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (err) {
    if (!isUniqueViolation(err)) throw err
    throw new CodedError(code, message, { cause: err })
  }
}

function checkAddresses({ ip, altip }: Pick<HostRow, 'ip' | 'altip'>): void {
  for (const address of [ip, altip]) {
    if (address !== null && isIP(address) === 0) {
      throw new CodedError('bad_params', `${JSON.stringify(address)} is no IP address`)
    }
  }
}
