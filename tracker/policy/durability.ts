import type { Durability } from '../../common/protocol/files.ts'
import type { Device } from './device.ts'

/** Copies that a put of this durability needs before it is OK, in a class of `mindevcount` copies. */
export function copiesFor(durability: Durability, mindevcount: number): number {
  switch (durability) {
    case 'fast':
      return 1
    case 'safe':
      return Math.min(2, mindevcount)
    case 'everywhere':
      return mindevcount
  }
}

/** What a put must reach before it is OK: so many devices, on so many hosts. */
export interface Target {
  readonly copies: number
  readonly hosts: number
  /** Why this is less than was asked for. */
  readonly reduced?: string
}

/**
 * What the cluster can give of `wanted` copies: each on its own device, and on its own host as far
 * as there are hosts. A host that is configured to serve counts also while it does not answer, so
 * that an outage never lowers the durability in silence.
 */
export function reachableTarget(devices: readonly Device[], wanted: number): Target {
  const usable = devices.filter(d => d.status === 'alive' && d.host.status === 'alive')
  const hostCount = new Set(usable.map(d => d.host.id)).size
  const copies = Math.max(1, Math.min(wanted, usable.length))
  const hosts = Math.max(1, Math.min(copies, hostCount))
  if (copies === wanted && hosts >= Math.min(2, wanted)) return { copies, hosts }
  const reduced = `${wanted} copies were asked for; in service are ${count(usable.length, 'device')} on ${count(hostCount, 'host')}`
  return { copies, hosts, reduced }
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
