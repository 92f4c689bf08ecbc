/** The configuration of the cluster as one tracker holds it in memory, read in one go. */
import type { Db } from '../store/db.ts'
import { listClasses, listDomains, type ClassRow, type DomainRow } from '../store/domains.ts'
import { listDevices, listHosts, type DeviceRow, type HostRow } from '../store/hosts.ts'
import { listSettings, readClock } from '../store/settings.ts'
import { listTokens, type TokenRow } from '../store/tokens.ts'

export interface Domain extends DomainRow {
  /** By id; 0 is the default class and always there. */
  readonly classes: ReadonlyMap<number, ClassRow>
}

export interface Snapshot {
  /** By the database's clock, as its text: what was committed before then is in it. */
  readonly readAt: string
  readonly domains: ReadonlyMap<string, Domain>
  readonly domainsById: ReadonlyMap<number, Domain>
  readonly hosts: ReadonlyMap<number, HostRow>
  readonly devices: ReadonlyMap<number, DeviceRow>
  readonly settings: ReadonlyMap<string, string>
  /** By the hex SHA-256 of the token's text. */
  readonly tokens: ReadonlyMap<string, TokenRow>
}

export const emptySnapshot: Snapshot = {
  readAt: '-infinity',
  domains: new Map(),
  domainsById: new Map(),
  hosts: new Map(),
  devices: new Map(),
  settings: new Map(),
  tokens: new Map(),
}

/** Reads the whole configuration. Throws database_unavailable. */
export async function readSnapshot(db: Db): Promise<Snapshot> {
  const readAt = await readClock(db)
  const [domainRows, classRows, hosts, devices, settings, tokens] = await Promise.all([
    listDomains(db),
    listClasses(db),
    listHosts(db),
    listDevices(db),
    listSettings(db),
    listTokens(db),
  ])
  const classes = new Map<number, Map<number, ClassRow>>(
    domainRows.map(({ id }) => [id, new Map()]),
  )
  for (const row of classRows) classes.get(row.domainId)?.set(row.id, row)
  const domains = domainRows.map(row => ({ ...row, classes: classes.get(row.id) ?? new Map() }))
  return {
    readAt,
    domains: new Map(domains.map(domain => [domain.name, domain])),
    domainsById: new Map(domains.map(domain => [domain.id, domain])),
    hosts: new Map(hosts.map(host => [host.id, host])),
    devices: new Map(devices.map(device => [device.devid, device])),
    settings: new Map(settings.map(({ name, value }) => [name, value])),
    tokens: new Map(tokens.map(token => [token.hash.toString('hex'), token])),
  }
}

/** The class called `name`; empty is the default one. */
export function findClass(domain: Domain, name: string): ClassRow | undefined {
  if (name === '') return domain.classes.get(0)
  return [...domain.classes.values()].find(row => row.name === name)
}

/** The class of a file; the default one where it is gone. */
export function getClassRow(
  { domainsById }: Snapshot,
  { domainId, classId }: { readonly domainId: number; readonly classId: number },
): ClassRow | undefined {
  const classes = domainsById.get(domainId)?.classes
  return classes?.get(classId) ?? classes?.get(0)
}

/** Names of settings with a meaning here, and what holds without them. */
const numberDefaults = {
  /** Seconds that deleted bytes stay on disk, for readers that located them before. */
  delete_grace_seconds: 10,
  /** Bytes that stay free on every device, in MB. */
  min_free_space_mb: 100,
  /** Seconds an upload may stay open. */
  upload_seconds: 3600,
  /** Seconds a signed GET URL works. */
  get_url_seconds: 900,
  /** Seconds between a device's death and the first of its files to be forgotten there. */
  reaper_delay_seconds: 10,
  /** Days within which every replica is read. */
  scrub_days: 30,
  /** MB a second that scrubbing reads at most. */
  scrub_mb_per_second: 20,
  /** Hours between two comparisons of a device's files with the database. */
  sweep_hours: 24,
  /** Hours that bytes which nobody owns stay on a device. */
  orphan_hours: 24,
  /** Seconds that a device or host is away before it is treated as lost. */
  lost_after: 900,
  /** Percent of the devices that are treated as lost at the same time at most, rounded up to a device. */
  max_lost_share: 25,
  /** Seconds that a device is back before copies that have become too many are removed. */
  trim_after: 30,
  /** MB and files a second that one tracker copies at most to make up for changes; 0: any number. */
  copy_mb_per_second: 0,
  copy_files_per_second: 0,
  /** Copies that one tracker reads from or writes to one device at once. */
  copies_per_device: 8,
} as const

export type NumberSetting = keyof typeof numberDefaults

/** True when a setting by this name exists. */
export function isNumberSetting(name: string): name is NumberSetting {
  return Object.hasOwn(numberDefaults, name)
}

/** A setting's value, or its default. */
export function numberSetting({ settings }: Snapshot, name: NumberSetting): number {
  const value = Number(settings.get(name) ?? Number.NaN)
  return Number.isFinite(value) && value >= 0 ? value : numberDefaults[name]
}

/** Repair of what is away is off, because somebody works on the machines. */
export const inMaintenance = ({ settings }: Snapshot): boolean =>
  settings.get('maintenance') === '1'

/** How many files are queued a second, unless told otherwise, and how many wait at most. */
const queueDefaults = {
  fsck: { rate: 20_000, size: 20_000 },
  rebal: { rate: 500, size: 10_000 },
  reaper: { rate: 1_000, size: Number.POSITIVE_INFINITY },
} as const

/** The limits that operators set as `queue_rate_for_…` and `queue_size_for_…`. */
export function queueLimits(
  { settings }: Snapshot,
  queue: keyof typeof queueDefaults,
): { rate: number; size: number } {
  const limit = (of: 'rate' | 'size'): number => {
    const text = settings.get(`queue_${of}_for_${queue}`) ?? ''
    return /^\d{1,9}$/.test(text) ? Number(text) : queueDefaults[queue][of]
  }
  return { rate: limit('rate'), size: limit('size') }
}
