/**
 * Policies that look at networks: MogileFS-Network's HostsPerNetwork and MultipleNetworks. A zone is what
 * an operator calls a network; a host without one belongs to the network of its address.
 */
import type { Device } from './device.ts'
import {
  excess,
  hostsOf,
  inService,
  noTaker,
  onEveryDevice,
  satisfied,
  type PolicyState,
  type Verdict,
} from './verdict.ts'

/** So many hosts in each zone that is named; the class's count does not matter. */
export function hostsPerNetwork(wanted: ReadonlyMap<string, number>, state: PolicyState): Verdict {
  const { copies, devices } = state
  const within = (zone: string, of: readonly Device[]): Device[] =>
    of.filter(({ host }) => host.zone === zone)
  const needed = new Set<string>()
  let tooGood = false
  for (const [zone, count] of wanted) {
    const here = within(zone, copies)
    const hosts = hostsOf(here).size
    // A zone with too few hosts has to do with devices.
    const available = hostsOf(within(zone, inService(devices))).size
    if ((available < count ? here.length : hosts) < count) needed.add(zone)
    else if (here.length > count) tooGood = true
  }
  if (needed.size === 0) return tooGood ? excess : satisfied
  const to = state.candidates.filter(({ host }) => host.zone !== undefined && needed.has(host.zone))
  const used = hostsOf(copies)
  const fresh = to.filter(({ host }) => !used.has(host.id))
  if (fresh.length > 0) return { kind: 'copy', to: fresh, ideal: true }
  if (to.length > 0) return { kind: 'copy', to, ideal: false }
  const zones = [...needed].join(', ')
  return { kind: 'stuck', why: `no device in ${zones} takes new files` }
}

const networksOf = (devices: readonly Device[]): Set<string> =>
  new Set(devices.map(({ host }) => host.network ?? ''))

/** Copies on `min` hosts, and on as many networks as there are, up to `min`. */
export function multipleNetworks(min: number, state: PolicyState): Verdict {
  const { copies, devices } = state
  if (min === 1 && copies.length > 0) return satisfied
  if (onEveryDevice(state)) return satisfied
  const hosts = hostsOf(copies)
  const networks = networksOf(copies)
  const alive = inService(devices)
  if (networks.size >= Math.min(min, networksOf(alive).size)) {
    if (hosts.size > min || (hosts.size === min && copies.length > min)) return excess
    if (hosts.size === min) return satisfied
    if (hosts.size >= hostsOf(alive).size && copies.length >= min) return satisfied
  }
  const { candidates } = state
  if (candidates.length === 0) return noTaker
  const unused = ({ host }: Device): boolean => !hosts.has(host.id)
  // Where addresses tell nothing, another host is all that one can ask for.
  const elsewhere = ({ host }: Device): boolean =>
    host.network === undefined ? !hosts.has(host.id) : !networks.has(host.network)
  const ideal = candidates.filter(elsewhere)
  if (ideal.length > 0) return { kind: 'copy', to: ideal, ideal: true }
  const other = candidates.filter(unused)
  const same = candidates.filter(device => !unused(device))
  if (other.length === 0 && copies.length >= min) {
    return { kind: 'stuck', why: 'no device on another host takes new files' }
  }
  return { kind: 'copy', to: [...other, ...same], ideal: false }
}
