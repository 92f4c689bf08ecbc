/** Where hosts stand: the zone that an operator gave them, or the network of their address. */
import { isIPv4 } from 'node:net'
import type { HostRow } from '../store/hosts.ts'
import { parseNetwork, type Network } from './netmask.ts'

export interface Place {
  readonly zone?: string
  /** The zone, or else the IPv4 /16 or the IPv6 /48. */
  readonly network?: string
}

/**
 * Reads MogileFS-Network's settings: `network_zones`, a list of names, and for each of them `zone_<name>`,
 * a list of netmasks. What cannot be read is left out. Of several that hold an address, the narrowest
 * counts; a host's own `zone` counts before all.
 */
export function createPlaces(
  settings: ReadonlyMap<string, string>,
): (host: Pick<HostRow, 'ip' | 'zone'>) => Place {
  const listOf = (name: string): string[] =>
    (settings.get(name) ?? '').split(/[\s,]+/).filter(word => word !== '')
  const networks: { zone: string; network: Network }[] = listOf('network_zones').flatMap(zone =>
    listOf(`zone_${zone}`).flatMap(mask => {
      const network = parseNetwork(mask)
      return network ? [{ zone, network }] : []
    }),
  )
  networks.sort((a, b) => b.network.bits - a.network.bits)
  return ({ ip, zone: own }) => {
    const zone = own ?? networks.find(({ network }) => network.holds(ip))?.zone
    return zone ? { zone, network: zone } : { network: prefixOf(ip) }
  }
}

const prefixOf = (ip: string): string =>
  isIPv4(ip)
    ? ip.split('.').slice(0, 2).join('.')
    : new URL(`http://[${ip}]`).hostname.split(':').slice(0, 3).join(':')
