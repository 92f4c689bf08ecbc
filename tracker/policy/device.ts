/**
 * What may be done with a device now, from its configured states and what the monitor sees.
 * The predicates are those of MogileFS (`lib/MogileFS/Device.pm`).
 */
import type { DeviceStatus, HostStatus } from '../../common/protocol/configuration.ts'

export type HostObservation = 'reachable' | 'unreachable' | 'unknown'
export type DeviceObservation = 'writeable' | 'readable' | 'unreachable' | 'unknown'

/** A device with its host, as configured and as observed. Sizes in bytes, null when unknown. */
export interface Device {
  readonly devid: number
  readonly status: DeviceStatus
  readonly weight: number
  readonly totalBytes: number | null
  readonly usedBytes: number | null
  readonly observed: DeviceObservation
  /** Percent of the time the disk is busy; undefined when the node does not tell. */
  readonly utilization?: number
  /** Away for so long that its replicas do not count. */
  readonly lost?: boolean
  /** Its node's clock is so far off that signatures may be refused there. */
  readonly clockSkewed?: boolean
  /** Why it is not as it should be, as a sentence for people. */
  readonly problem?: string
  /** What is under way to it and not yet in `usedBytes`; counts on. */
  readonly load?: Load
  readonly host: {
    readonly id: number
    readonly name: string
    readonly status: HostStatus
    readonly observed: HostObservation
    /** What operators call the place; hosts of one zone may fail together. */
    readonly zone?: string
    /** The zone, or else the network of its address. */
    readonly network?: string
  }
}

/** Files on their way to a device, and their bytes as far as they are known. */
export interface Load {
  readonly files: number
  readonly bytes: number
}

/** Replicas on it count: it is neither dead nor treated as lost. */
export const holdsFiles = ({ status, lost = false }: Device): boolean => status !== 'dead' && !lost

/** Bytes free once what is under way has arrived; undefined when the node has not reported. */
export function freeBytes({ totalBytes, usedBytes, load }: Device): number | undefined {
  if (totalBytes === null || usedBytes === null) return undefined
  return totalBytes - usedBytes - (load?.bytes ?? 0)
}

/** Share of the device that is free, 0 to 1; undefined when the node has not reported. */
export function freeShare(device: Device): number | undefined {
  const free = freeBytes(device)
  return free === undefined || !device.totalBytes
    ? undefined
    : Math.max(0, free / device.totalBytes)
}

/** The monitor looks at it. */
export function isMonitored({ status, host }: Device): boolean {
  return (
    (host.status === 'alive' || host.status === 'readonly') &&
    (status === 'alive' || status === 'readonly' || status === 'drain')
  )
}

/** Its replicas may be read now. */
export function isReadable(device: Device): boolean {
  return (
    isMonitored(device) &&
    device.host.observed === 'reachable' &&
    (device.observed === 'readable' || device.observed === 'writeable')
  )
}

/** New replicas of `size` bytes may be put there now, `reserve` bytes staying free. */
export function takesFiles(device: Device, { reserve, size }: { reserve: number; size: number }) {
  const free = freeBytes(device)
  return (
    device.status === 'alive' &&
    device.host.status === 'alive' &&
    device.host.observed === 'reachable' &&
    device.observed === 'writeable' &&
    !device.lost &&
    !device.clockSkewed &&
    (free === undefined || (free > size && free - size >= reserve))
  )
}

/** Replicas may be removed from it now. */
export function isDeletable({ status, host }: Device): boolean {
  return host.status === 'alive' && (status === 'alive' || status === 'drain')
}
