/**
 * What may be done with a device now, from its configured states and what the monitor sees.
 * The predicates are those of MogileFS (`lib/MogileFS/Device.pm`).
 */
import type { DeviceStatus, HostStatus } from '../../common/protocol.ts'

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
  readonly host: {
    readonly id: number
    readonly name: string
    readonly status: HostStatus
    readonly observed: HostObservation
  }
}

/** Bytes free; undefined when the node has not reported. */
export function freeBytes({ totalBytes, usedBytes }: Device): number | undefined {
  return totalBytes === null || usedBytes === null ? undefined : totalBytes - usedBytes
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
    (free === undefined || free - size >= reserve)
  )
}

/** Replicas may be removed from it now. */
export function isDeletable({ status, host }: Device): boolean {
  return host.status === 'alive' && (status === 'alive' || status === 'drain')
}
