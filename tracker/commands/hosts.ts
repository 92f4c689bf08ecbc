/** Hosts and devices. A change is audited in its transaction; the monitor looks at once after it. */
import { isIP } from 'node:net'
import { CodedError } from '../../common/errors.ts'
import { DeviceStatus, HostStatus, type ChangeHost } from '../../common/protocol/configuration.ts'
import type { Context } from '../cluster/context.ts'
import { parseNetmask } from '../cluster/netmask.ts'
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
import { requestReview, settledSeconds } from '../store/reviews.ts'
import { findHost } from './lookup.ts'

/** Every host, by id. */
export function listHosts({ cluster }: Pick<Context, 'cluster'>): HostRow[] {
  return [...cluster.snapshot.hosts.values()]
}

/** A host as it is asked for; of an existing one, what is absent stays, and null is cleared. */
export interface HostArgs extends Omit<ChangeHost, 'status'> {
  readonly name: string
  readonly status?: string
}

/**
 * Creates a host, `down` unless told otherwise. Throws no_host, host_exists, no_ip, no_port,
 * unknown_state, bad_params or dup, in this order.
 */
export async function createHost(ctx: Context, args: HostArgs, caller: Caller): Promise<HostRow> {
  if (args.name === '') throw new CodedError('no_host', 'no host given')
  await ctx.cluster.refresh()
  if (findHost(ctx, args.name)) {
    throw new CodedError('host_exists', `there is a host ${JSON.stringify(args.name)}`)
  }
  const { ip, port } = args
  if (!ip) throw new CodedError('no_ip', 'no address given')
  if (!port) throw new CodedError('no_port', 'no port given')
  const host = {
    getPort: null,
    altip: null,
    altmask: null,
    zone: null,
    ...args,
    ip,
    port,
    status: hostStatus(args.status ?? 'down'),
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(args.name)) {
    throw new CodedError('bad_params', 'a host is called by letters, digits and . _ -')
  }
  checkAddresses(host)
  await conflictAs('dup', 'another host has that name or address', () =>
    ctx.db.transaction(async tx => {
      await insertHost(tx, host)
      await insertAudit(tx, caller, { action: 'host.create', detail: host })
    }),
  )
  await applied(ctx)
  return getHost(ctx, args.name)
}

/**
 * Changes what is named of a host. Throws no_host, host_not_found, unknown_state, bad_params or dup,
 * in this order.
 */
export async function changeHost(
  ctx: Context,
  { name, ...change }: HostArgs,
  caller: Caller,
): Promise<HostRow> {
  await ctx.cluster.refresh()
  const before = getHost(ctx, name)
  const host = { ...before, ...change, status: hostStatus(change.status ?? before.status) }
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

/** A device as it is asked for, on a host by its name or its number. */
export interface NewDeviceArgs {
  readonly devid: number
  readonly host?: string
  readonly hostId?: number
  readonly status?: string
  readonly weight?: number
}

/**
 * Creates a device. Throws invalid_state, invalid_devid, unknown_hostid or unknown_host or bad_args
 * (no host named), or existing_devid, in this order.
 */
export async function createDevice(
  ctx: Context,
  args: NewDeviceArgs,
  caller: Caller,
): Promise<Device> {
  const { devid, weight = 100 } = args
  const status = deviceStatus(args.status ?? 'alive', 'invalid_state')
  if (!(Number.isInteger(devid) && devid >= 1 && devid < 2 ** 31)) {
    throw new CodedError('invalid_devid', `${devid} cannot be the number of a device`)
  }
  await ctx.cluster.refresh()
  const host = hostOf(ctx, args)
  await conflictAs('existing_devid', `there is a device ${devid}`, () =>
    ctx.db.transaction(async tx => {
      await insertDevice(tx, { devid, hostId: host.id, status, weight })
      const detail = { devid, host: host.name, status, weight }
      await insertAudit(tx, caller, { action: 'device.create', detail })
      if (status === 'alive') await requestReview(tx, 'all', settledSeconds)
    }),
  )
  await applied(ctx)
  return getDevice(ctx, devid)
}

function hostOf(ctx: Context, { host, hostId }: Pick<NewDeviceArgs, 'host' | 'hostId'>): HostRow {
  if (hostId !== undefined) {
    const found = ctx.cluster.snapshot.hosts.get(hostId)
    if (!found) throw new CodedError('unknown_hostid', `no host number ${hostId}`)
    return found
  }
  if (!host) throw new CodedError('bad_args', 'No hostid/hostname parameter')
  const found = findHost(ctx, host)
  if (!found) throw new CodedError('unknown_host', `no host ${JSON.stringify(host)}`)
  return found
}

/** What is to change of a device; `host`, where given, has to be the one that has it. */
export interface DeviceArgs {
  readonly devid: number
  readonly host?: string
  readonly status?: string
  readonly weight?: number
}

/** The same limit as over HTTP. */
const maxWeight = 1_000_000

/**
 * Changes a device's state or weight. Throws bad_params, no_device, host_mismatch or state_too_high,
 * in this order.
 */
export async function changeDevice(
  ctx: Context,
  { devid, host, ...change }: DeviceArgs,
  caller: Caller,
): Promise<Device> {
  const { weight } = change
  const status = change.status === undefined ? undefined : deviceStatus(change.status, 'bad_params')
  if (weight !== undefined && !(weight >= 0 && weight <= maxWeight)) {
    throw new CodedError('bad_params', `a weight is 0 to ${maxWeight}`)
  }
  await ctx.cluster.refresh()
  const device = getDevice(ctx, devid)
  if (host !== undefined && device.host.name !== host) {
    throw new CodedError('host_mismatch', `device ${devid} belongs to ${device.host.name}`)
  }
  if (device.status === 'dead' && status === 'alive') {
    throw new CodedError('state_too_high', 'a dead device has to be marked down first')
  }
  await ctx.db.transaction(async tx => {
    await updateDevice(tx, {
      devid,
      status: status ?? device.status,
      weight: weight ?? device.weight,
    })
    await insertAudit(tx, caller, { action: 'device.change', detail: { devid, ...change } })
    // Some files may be closer together than they need be from now on.
    if (status === 'alive' && device.status !== 'alive')
      await requestReview(tx, 'all', settledSeconds)
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

function hostStatus(status: string): HostStatus {
  if (!isOneOf(HostStatus, status)) {
    throw new CodedError('unknown_state', `no host can be ${JSON.stringify(status)}`)
  }
  return status
}

function deviceStatus(status: string, code: 'invalid_state' | 'bad_params'): DeviceStatus {
  if (!isOneOf(DeviceStatus, status)) {
    throw new CodedError(code, `no device can be ${JSON.stringify(status)}`)
  }
  return status
}

function isOneOf<T extends string>(
  { anyOf }: { readonly anyOf: readonly { readonly const: T }[] },
  text: string,
): text is T {
  return anyOf.some(literal => literal.const === text)
}

type Addresses = Pick<HostRow, 'ip' | 'port' | 'getPort' | 'altip' | 'altmask'>

function checkAddresses({ ip, port, getPort, altip, altmask }: Addresses): void {
  for (const address of [ip, altip]) {
    if (address !== null && isIP(address) === 0) {
      throw new CodedError('bad_params', `${JSON.stringify(address)} is no IP address`)
    }
  }
  for (const number of [port, getPort]) {
    if (number !== null && !(number >= 1 && number <= 65535)) {
      throw new CodedError('bad_params', `${number} is no port`)
    }
  }
  if (altmask !== null && !parseNetmask(altmask)) {
    throw new CodedError('bad_params', `${JSON.stringify(altmask)} is no netmask`)
  }
}
