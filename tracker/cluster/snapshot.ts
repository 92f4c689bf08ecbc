/** The configuration of the cluster as one tracker holds it in memory, read in one go. */
import type { Db } from '../store/db.ts'
import { listClasses, listDomains, type ClassRow, type DomainRow } from '../store/domains.ts'
import { listDevices, listHosts, type DeviceRow, type HostRow } from '../store/hosts.ts'
import { listSettings } from '../store/settings.ts'
import { listTokens, type TokenRow } from '../store/tokens.ts'

export interface Domain extends DomainRow {
  /** By id; 0 is the default class and always there. */
  readonly classes: ReadonlyMap<number, ClassRow>
}

export interface Snapshot {
  readonly domains: ReadonlyMap<string, Domain>
  readonly domainsById: ReadonlyMap<number, Domain>
  readonly hosts: ReadonlyMap<number, HostRow>
  readonly devices: ReadonlyMap<number, DeviceRow>
  readonly settings: ReadonlyMap<string, string>
  /** By the hex SHA-256 of the token's text. */
  readonly tokens: ReadonlyMap<string, TokenRow>
}

export const emptySnapshot: Snapshot = {
  domains: new Map(),
  domainsById: new Map(),
  hosts: new Map(),
  devices: new Map(),
  settings: new Map(),
  tokens: new Map(),
}

/** Reads the whole configuration. Throws database_unavailable. */
export async function readSnapshot(db: Db): Promise<Snapshot> {
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
