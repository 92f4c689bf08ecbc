/**
 * How many replicas a file should have, and where: MogileFS's replication policies
 * (`lib/MogileFS/ReplicationPolicy/*.pm`) as pure functions.
 */
import { takesFiles, type Device } from './device.ts'
import { orderForWrite, type Random } from './placement.ts'

export type PolicySpec =
  | { readonly kind: 'MultipleHosts'; readonly count: number | undefined }
  | { readonly kind: 'MultipleDevices'; readonly count: number | undefined }

/** What to do for a file now. `to` is in order of preference; `ideal` false: better than nothing. */
export type Verdict =
  | { readonly kind: 'satisfied' }
  | { readonly kind: 'copy'; readonly to: readonly Device[]; readonly ideal: boolean }
  | { readonly kind: 'excess' }
  | { readonly kind: 'stuck'; readonly why: string }

export interface Situation {
  /** Every device of the cluster. */
  readonly devices: readonly Device[]
  /** Devices that hold a replica. */
  readonly devids: readonly number[]
  /** Copies that the class asks for. */
  readonly mindevcount: number
  /** Bytes of the file. */
  readonly size: number
  /** Bytes that stay free on every device. */
  readonly reserve: number
  /** Devices that failed just now. */
  readonly avoid: ReadonlySet<number>
  readonly random: Random
}

const syntax = /^\s*(MultipleHosts|MultipleDevices)\s*\(\s*(\d*)\s*\)\s*$/

/** Reads a class's policy text; null is `MultipleHosts()`. Undefined when it is not understood. */
export function parsePolicy(text: string | null): PolicySpec | undefined {
  if (text === null || text === '') return { kind: 'MultipleHosts', count: undefined }
  const match = syntax.exec(text)
  if (!match) return undefined
  return {
    kind: match[1] as PolicySpec['kind'],
    // 0 is no count, as in the original.
    count: Number(match[2]) || undefined,
  }
}

/** Judges a file under a policy. */
export function judge(policy: PolicySpec, situation: Situation): Verdict {
  const min = policy.count ?? situation.mindevcount
  const holding = new Set(situation.devids)
  // A dead device holds nothing any more.
  const copies = situation.devices.filter(d => holding.has(d.devid) && d.status !== 'dead')
  const candidates = orderForWrite(
    situation.devices.filter(
      d => !holding.has(d.devid) && !situation.avoid.has(d.devid) && takesFiles(d, situation),
    ),
    situation.random,
  )
  const state = { min, copies, candidates, devices: situation.devices }
  switch (policy.kind) {
    case 'MultipleHosts':
      return multipleHosts(state)
    case 'MultipleDevices':
      return multipleDevices(state)
  }
}

interface PolicyState {
  readonly min: number
  readonly copies: readonly Device[]
  readonly candidates: readonly Device[]
  readonly devices: readonly Device[]
}

const hostsOf = (devices: readonly Device[]): Set<number> => new Set(devices.map(d => d.host.id))

function multipleHosts({ min, copies, candidates, devices }: PolicyState): Verdict {
  const hosts = hostsOf(copies)
  if (min === 1 && copies.length === 1) return { kind: 'satisfied' }
  if (hosts.size > min || copies.length > min) return { kind: 'excess' }
  if (hosts.size === min) return { kind: 'satisfied' }
  const aliveHosts = hostsOf(devices.filter(d => d.status === 'alive'))
  if (hosts.size >= aliveHosts.size && copies.length >= min) return { kind: 'satisfied' }
  if (onEveryDevice(copies, devices)) return { kind: 'satisfied' }
  if (candidates.length === 0) return { kind: 'stuck', why: 'no device takes new files' }
  const elsewhere = candidates.filter(d => !hosts.has(d.host.id))
  if (elsewhere.length > 0) return { kind: 'copy', to: elsewhere, ideal: true }
  if (copies.length >= min)
    return { kind: 'stuck', why: 'no device on another host takes new files' }
  const hostsLeft = [...aliveHosts].some(id => !hosts.has(id))
  return { kind: 'copy', to: candidates, ideal: !hostsLeft }
}

function multipleDevices({ min, copies, candidates, devices }: PolicyState): Verdict {
  if (copies.length === min) return { kind: 'satisfied' }
  if (copies.length > min) return { kind: 'excess' }
  if (onEveryDevice(copies, devices)) return { kind: 'satisfied' }
  if (candidates.length === 0) return { kind: 'stuck', why: 'no device takes new files' }
  return { kind: 'copy', to: candidates, ideal: true }
}

const onEveryDevice = (copies: readonly Device[], devices: readonly Device[]): boolean =>
  copies.length >= 2 && copies.length === devices.filter(d => d.status !== 'dead').length
