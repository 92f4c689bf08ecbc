/**
 * Rebalance without its side effects: MogileFS's policy text, which devices a policy takes files
 * from and sends them to, and how far a run goes (`lib/MogileFS/Rebalance.pm`).
 */
import { freeBytes, isDeletable, takesFiles, type Device } from './device.ts'
import { weightedOrder, type Random } from './placement.ts'
import type { RebalanceState } from './rebalance-state.ts'

/** Which devices; an empty list or an absent number asks for nothing. */
export interface DeviceFilter {
  readonly hosts: readonly number[]
  readonly devices: readonly number[]
  readonly notHosts: readonly number[]
  readonly notDevices: readonly number[]
  /** More than so many percent. */
  readonly percentUsed?: number
  readonly percentFree?: number
  /** More than so many MB. */
  readonly spaceUsed?: number
  readonly spaceFree?: number
}

export interface RebalancePolicy {
  readonly from: DeviceFilter
  readonly to: DeviceFilter
  readonly newestFirst: boolean
  /** Files or bytes, or percent of the bytes in use, of each device or of all together. */
  readonly limit?: {
    readonly by: 'count' | 'size' | 'percent'
    readonly of: 'device' | 'global'
    readonly amount: number
  }
  /** Destinations offered for each file; absent: all. */
  readonly destinations?: number
  readonly leaveInDrain: boolean
}

export type ParsedPolicy =
  | { readonly kind: 'policy'; readonly policy: RebalancePolicy }
  | { readonly kind: 'invalid'; readonly why: string }

const ids = /^\d{1,9}(,\d{1,9})*$/
const number = /^\d{1,15}(\.\d{1,6})?$/
const percent = /^(100(\.0{1,6})?|\d{1,2}(\.\d{1,6})?)$/
const flag = /^[01]$/

/** Every setting, and what its value looks like; an empty value is the default. */
const settings: Readonly<Record<string, RegExp>> = {
  from_all_devs: flag,
  from_hosts: ids,
  from_devices: ids,
  from_percent_used: percent,
  from_percent_free: percent,
  from_space_used: number,
  from_space_free: number,
  fid_age: /^(old|new)$/,
  limit_type: /^(device|global)$/,
  limit_by: /^(none|count|size|percent)$/,
  limit: /^\d{1,15}(\.\d{1,6})?[bkmgtp%]?$/i,
  to_all_devs: flag,
  to_hosts: ids,
  to_devices: ids,
  not_to_hosts: ids,
  not_to_devices: ids,
  to_percent_used: percent,
  to_percent_free: percent,
  to_space_used: number,
  to_space_free: number,
  use_dest_devs: /^(all|[1-9]\d{0,8})$/,
  leave_in_drain_mode: flag,
}

const limits = { count: /^\d+$/, size: /^(\d+)([bkmgtp]?)$/i, percent: /^([\d.]+)%?$/ }

const invalid = (why: string): ParsedPolicy => ({ kind: 'invalid', why })

/** Reads a policy text, words `name=value`. */
export function parseRebalancePolicy(text: string): ParsedPolicy {
  const words = text.split(/\s+/).filter(word => word !== '')
  if (words.length === 0) return invalid('The policy is empty')
  const values = new Map<string, string>()
  for (const word of words) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(word) ?? []
    if (!Object.hasOwn(settings, name)) return invalid(`Invalid setting ${name}`)
    if (value === '') continue
    if (!settings[name]?.test(value)) return invalid(`Invalid value for ${name}: ${value}`)
    values.set(name, value)
  }
  const limit = limitOf(values)
  if (typeof limit === 'string') return invalid(limit)
  const destinations = Number(values.get('use_dest_devs'))
  return {
    kind: 'policy',
    policy: {
      from: filterOf(values, 'from'),
      to: filterOf(values, 'to'),
      newestFirst: values.get('fid_age') === 'new',
      leaveInDrain: values.get('leave_in_drain_mode') === '1',
      ...(limit && { limit }),
      ...(destinations > 0 && { destinations }),
    },
  }
}

function filterOf(values: ReadonlyMap<string, string>, end: 'from' | 'to'): DeviceFilter {
  const list = (name: string): number[] => values.get(name)?.split(',').map(Number) ?? []
  const bound = <Name extends string>(name: Name, setting: string) =>
    (values.has(setting) ? { [name]: Number(values.get(setting)) } : {}) as { [n in Name]?: number }
  return {
    hosts: list(`${end}_hosts`),
    devices: list(`${end}_devices`),
    notHosts: list(`not_${end}_hosts`),
    notDevices: list(`not_${end}_devices`),
    ...bound('percentUsed', `${end}_percent_used`),
    ...bound('percentFree', `${end}_percent_free`),
    ...bound('spaceUsed', `${end}_space_used`),
    ...bound('spaceFree', `${end}_space_free`),
  }
}

/** The limit; undefined: none; a text: what is wrong with it. */
function limitOf(values: ReadonlyMap<string, string>): RebalancePolicy['limit'] | string {
  const by = (values.get('limit_by') ?? 'none') as keyof typeof limits | 'none'
  if (by === 'none') return undefined
  const text = values.get('limit') ?? ''
  const match = limits[by].exec(text)
  if (!match) return `Invalid value for limit, which is by ${by}: ${text || 'none'}`
  const of = values.get('limit_type') === 'global' ? 'global' : 'device'
  if (by !== 'size') return { by, of, amount: Number.parseFloat(text) }
  const power = 'bkmgtp'.indexOf((match[2] || 'b').toLowerCase())
  return { by, of, amount: Number(match[1]) * 1024 ** power }
}

const mebibyte = 1024 * 1024

function passes(device: Device, filter: DeviceFilter): boolean {
  const { hosts, devices, notHosts, notDevices } = filter
  const { devid, host, totalBytes, usedBytes } = device
  if (hosts.length > 0 && !hosts.includes(host.id)) return false
  if (devices.length > 0 && !devices.includes(devid)) return false
  if (notHosts.includes(host.id) || notDevices.includes(devid)) return false
  // What is not known is more than nothing.
  const exceeds = (value: number | undefined, bound: number | undefined): boolean =>
    bound === undefined || (value !== undefined && value > bound)
  const free = freeBytes(device)
  const used = usedBytes ?? undefined
  const part = (bytes: number | undefined): number | undefined =>
    bytes === undefined || !totalBytes ? undefined : (bytes / totalBytes) * 100
  return (
    exceeds(part(used), filter.percentUsed) &&
    exceeds(part(free), filter.percentFree) &&
    exceeds(used && used / mebibyte, filter.spaceUsed) &&
    exceeds(free && free / mebibyte, filter.spaceFree)
  )
}

/** Devices that files are to leave, by number. */
export function selectSources(
  { from }: RebalancePolicy,
  devices: readonly Device[],
): readonly Device[] {
  return devices
    .filter(device => isDeletable(device) && passes(device, from))
    .sort((a, b) => a.devid - b.devid)
}

/** Devices that files may go to, by number: never one of `sources`. */
export function selectDestinations(
  { to }: RebalancePolicy,
  devices: readonly Device[],
  { sources, reserve }: { readonly sources: readonly number[]; readonly reserve: number },
): readonly Device[] {
  return devices
    .filter(
      device =>
        !sources.includes(device.devid) &&
        takesFiles(device, { reserve, size: 0 }) &&
        passes(device, to),
    )
    .sort((a, b) => a.devid - b.devid)
}

/** The destinations that one file may go to. */
export function destinationsOfFile(
  { destinations = Number.POSITIVE_INFINITY }: RebalancePolicy,
  devids: readonly number[],
  random: Random,
): number[] {
  if (devids.length <= destinations) return [...devids]
  return weightedOrder(devids, () => 1, random).slice(0, destinations)
}

/**
 * What a limit of this extent allows over `devices`, in files or bytes; undefined: there is no such
 * limit. A device that has not reported its usage has nothing to take a percentage of.
 */
export function allowance(
  { limit }: RebalancePolicy,
  extent: 'device' | 'global',
  devices: readonly Device[],
): number | undefined {
  if (!limit || limit.of !== extent) return undefined
  if (limit.by !== 'percent') return limit.amount
  const used = devices.reduce((sum, { usedBytes }) => sum + (usedBytes ?? 0), 0)
  return Math.floor((used * limit.amount) / 100)
}

/** Files on a device, and their bytes. */
export interface Amount {
  readonly devid: number
  readonly files: number
  readonly bytes: number
}

/**
 * What would leave each of the sources, whose contents are given; where a limit allows a part only,
 * it is reckoned with files of the average size.
 */
export function estimateMoves(
  policy: RebalancePolicy,
  sources: readonly Device[],
  contents: readonly Amount[],
): Amount[] {
  const byCount = policy.limit?.by === 'count'
  let globalLeft = allowance(policy, 'global', sources) ?? Number.POSITIVE_INFINITY
  return sources.map(device => {
    const { devid } = device
    const { files = 0, bytes = 0 } = contents.find(one => one.devid === devid) ?? {}
    const own = allowance(policy, 'device', [device]) ?? Number.POSITIVE_INFINITY
    const there = byCount ? files : bytes
    const share = there === 0 ? 1 : Math.min(1, Math.min(own, globalLeft) / there)
    globalLeft -= there * share
    return { devid, files: Math.floor(files * share), bytes: Math.floor(bytes * share) }
  })
}

export interface Taken<File> {
  readonly files: readonly File[]
  /** The limit allows no more. */
  readonly exhausted: boolean
  readonly state: RebalanceState
}

/**
 * The first of `files` as far as the limits allow, and the state when they are queued. Those that do
 * not `suit` are passed over.
 */
export function takeFiles<File extends { readonly fid: number; readonly size: number }>(
  { limit }: RebalancePolicy,
  state: RebalanceState,
  files: readonly File[],
  suits: (file: File) => boolean = () => true,
): Taken<File> {
  const cost = ({ size }: File): number => (limit?.by === 'count' ? 1 : size)
  const left = Math.min(
    state.deviceLimit ?? Number.POSITIVE_INFINITY,
    state.globalLimit ?? Number.POSITIVE_INFINITY,
  )
  const taken: File[] = []
  let { lastFid } = state
  let spent = 0
  let ended = false
  for (const file of files) {
    if (suits(file)) {
      ended = spent + cost(file) > left
      if (ended) break
      spent += cost(file)
      taken.push(file)
    }
    lastFid = file.fid
  }
  const bytes = taken.reduce((sum, { size }) => sum + size, 0)
  return {
    files: taken,
    exhausted: ended || spent >= left,
    state: {
      ...state,
      lastFid,
      fidsQueued: state.fidsQueued + taken.length,
      bytesQueued: state.bytesQueued + bytes,
      ...(state.deviceLimit !== undefined && { deviceLimit: state.deviceLimit - spent }),
      ...(state.globalLimit !== undefined && { globalLimit: state.globalLimit - spent }),
    },
  }
}
