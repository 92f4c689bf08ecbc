/**
 * How many replicas a file should have, and where: MogileFS's replication policies
 * (`lib/MogileFS/ReplicationPolicy/*.pm`) as pure functions.
 */
import { holdsFiles, takesFiles, type Device } from './device.ts'
import { hostsPerNetwork, multipleNetworks } from './networks.ts'
import { orderForWrite, type Random } from './placement.ts'
import type { PolicySpec } from './spec.ts'
import {
  excess,
  hostsOf,
  inService,
  noTaker,
  onEveryDevice,
  satisfied,
  type CustomPolicy,
  type PolicyState,
  type Verdict,
} from './verdict.ts'

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
  /** What plugins bring, by name. */
  readonly custom: ReadonlyMap<string, CustomPolicy>
  readonly random: Random
}

/** Judges a file under a policy. */
export function judge(policy: PolicySpec, situation: Situation): Verdict {
  return judgeState(policy, new State(situation), situation.custom)
}

/** A class, since an object that is made with a getter each time costs more than all else here. */
class State implements PolicyState {
  readonly min: number
  readonly devices: readonly Device[]
  readonly copies: readonly Device[]
  readonly #situation: Situation
  readonly #holding: ReadonlySet<number>
  #candidates: Device[] | undefined

  constructor(situation: Situation) {
    const holding = new Set(situation.devids)
    this.min = situation.mindevcount
    this.devices = situation.devices
    this.copies = situation.devices.filter(one => holding.has(one.devid) && holdsFiles(one))
    this.#situation = situation
    this.#holding = holding
  }

  /** Most files are as they should be, and need none. */
  get candidates(): Device[] {
    this.#candidates ??= findCandidates(this.#situation, this.copies, this.#holding)
    return this.#candidates
  }
}

/** Devices that could take one more, best first: where no copy is in the same zone before the others. */
function findCandidates(
  situation: Situation,
  copies: readonly Device[],
  holding: ReadonlySet<number>,
): Device[] {
  const { devices, avoid, random } = situation
  const zones = new Set(copies.map(({ host }) => host.zone))
  const isNear = ({ host }: Device): number =>
    Number(host.zone !== undefined && zones.has(host.zone))
  const takers = devices.filter(
    device =>
      !holding.has(device.devid) && !avoid.has(device.devid) && takesFiles(device, situation),
  )
  return orderForWrite(takers, random).sort((a, b) => isNear(a) - isNear(b))
}

function judgeState(policy: PolicySpec, state: PolicyState, custom: Situation['custom']): Verdict {
  switch (policy.kind) {
    case 'MultipleHosts':
      return multipleHosts(policy.count ?? state.min, state)
    case 'MultipleDevices':
      return multipleDevices(policy.count ?? state.min, state)
    case 'MultipleNetworks':
      return multipleNetworks(policy.count ?? state.min, state)
    case 'HostsPerNetwork':
      return hostsPerNetwork(policy.hosts, state)
    case 'Union':
      return union(policy.members.map(member => judgeState(member, state, custom)))
    case 'custom':
      return customPolicy(policy, state, custom.get(policy.name))
  }
}

/** With more copies than this, what is too much is taken away without looking to the end of it. */
const foreseen = 10

/**
 * What may leave a file that has too much: in order of preference, each of them alone. None goes
 * without which the others are too close together, though they are many enough.
 */
export function removable(policy: PolicySpec, situation: Situation): Device[] {
  const { devices, devids } = situation
  const known = new Map<string, boolean>()
  /** One after the other can go until the policy is satisfied. */
  const suffice = (left: readonly number[]): boolean => {
    const name = left.join()
    const answer = known.get(name)
    if (answer !== undefined) return answer
    const { kind } = judge(policy, { ...situation, devids: left })
    const found =
      kind === 'satisfied' ||
      (kind === 'excess' &&
        (left.length >= foreseen || left.some(devid => suffice(without(left, devid)))))
    known.set(name, found)
    return found
  }
  const fill = ({ usedBytes, totalBytes }: Device): number =>
    usedBytes === null || !totalBytes ? 0 : usedBytes / totalBytes
  const rank = (device: Device): number => (device.status === 'drain' ? 2 : fill(device))
  return devices
    .filter(({ devid }) => devids.includes(devid))
    .filter(device => holdsFiles(device) && suffice(without(devids, device.devid)))
    .sort((a, b) => rank(b) - rank(a))
}

const without = (devids: readonly number[], devid: number): number[] =>
  devids.filter(other => other !== devid)

/**
 * Where one more copy lets others go, for a file that has too many, of which none can go as they
 * lie. Empty: nowhere.
 */
export function betterPlaces(policy: PolicySpec, situation: Situation): readonly Device[] {
  const { devids } = situation
  const avoid = new Set([...situation.avoid, ...devids])
  for (const devid of devids) {
    const verdict = judge(policy, { ...situation, avoid, devids: without(devids, devid) })
    if (verdict.kind !== 'copy' || !verdict.ideal) continue
    const helps = (to: Device): boolean =>
      removable(policy, { ...situation, devids: [...devids, to.devid] }).length > 0
    const to = verdict.to.filter(helps)
    if (to.length > 0) return to
  }
  return []
}

function multipleHosts(min: number, state: PolicyState): Verdict {
  const { copies, devices } = state
  const hosts = hostsOf(copies)
  if (min === 1 && copies.length === 1) return satisfied
  if (hosts.size > min || copies.length > min) return excess
  if (hosts.size === min) return satisfied
  const aliveHosts = hostsOf(inService(devices))
  if (hosts.size >= aliveHosts.size && copies.length >= min) return satisfied
  if (onEveryDevice(state)) return satisfied
  const { candidates } = state
  if (candidates.length === 0) return noTaker
  const elsewhere = candidates.filter(({ host }) => !hosts.has(host.id))
  if (elsewhere.length > 0) return { kind: 'copy', to: elsewhere, ideal: true }
  if (copies.length >= min) {
    return { kind: 'stuck', why: 'no device on another host takes new files' }
  }
  const hostsLeft = [...aliveHosts].some(id => !hosts.has(id))
  return { kind: 'copy', to: candidates, ideal: !hostsLeft }
}

function multipleDevices(min: number, state: PolicyState): Verdict {
  const { copies } = state
  if (copies.length === min) return satisfied
  if (copies.length > min) return excess
  if (onEveryDevice(state)) return satisfied
  const { candidates } = state
  if (candidates.length === 0) return noTaker
  return { kind: 'copy', to: candidates, ideal: true }
}

/** All members want to be satisfied; what one of them still needs is not too much for another. */
function union(verdicts: readonly Verdict[]): Verdict {
  const copies = verdicts.filter(verdict => verdict.kind === 'copy')
  const [first] = copies
  if (first) {
    const shared = first.to.filter(device => copies.every(({ to }) => to.includes(device)))
    if (shared.length > 0) {
      return { kind: 'copy', to: shared, ideal: copies.every(({ ideal }) => ideal) }
    }
    return copies.find(({ ideal }) => ideal) ?? first
  }
  const stuck = verdicts.find(verdict => verdict.kind === 'stuck')
  if (stuck) return stuck
  return verdicts.every(verdict => verdict.kind === 'excess') ? excess : satisfied
}

/** A plugin may answer anything: what it names must be a candidate, and what it throws is the reason. */
function customPolicy(
  { name, args }: { readonly name: string; readonly args: string },
  state: PolicyState,
  policy: CustomPolicy | undefined,
): Verdict {
  const stuck = (why: string): Verdict => ({ kind: 'stuck', why: `policy ${name}: ${why}` })
  if (!policy) return stuck('no plugin of this tracker has it')
  try {
    const { min, copies, candidates, devices } = state
    const verdict = policy({ min, copies, candidates, devices, args })
    switch (verdict.kind) {
      case 'satisfied':
      case 'excess':
        // A file without a replica can be neither.
        return state.copies.length > 0 ? verdict : stuck('no replica')
      case 'stuck':
        return stuck(verdict.why)
      case 'copy': {
        const to = verdict.to.filter(device => state.candidates.includes(device))
        return to.length > 0 ? { ...verdict, to } : stuck('none of its devices takes new files')
      }
    }
  } catch (err) {
    return stuck(err instanceof Error ? err.message : String(err))
  }
  return stuck('answered no verdict')
}
