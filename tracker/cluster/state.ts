/**
 * Hosts, devices, domains and classes in memory: as configured (a snapshot of the database, read
 * anew all the time) and as observed (what the monitor saw; never stored).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Device, DeviceObservation, HostObservation } from '../policy/device.ts'
import type { Db } from '../store/db.ts'
import { emptySnapshot, readSnapshot, type Snapshot } from './snapshot.ts'

/** What the monitor saw of a device. */
export interface Observation {
  readonly state: DeviceObservation
  readonly totalBytes?: number
  readonly usedBytes?: number
}

/** Least milliseconds between reads for names that are not known here. */
const missRefreshMs = 250

export class ClusterState {
  snapshot: Snapshot = emptySnapshot
  readonly #db: Db
  readonly #hosts = new Map<number, HostObservation>()
  readonly #devices = new Map<number, Observation>()
  #refreshing: Promise<void> | undefined
  #again: Promise<void> | undefined
  #afterMiss: Promise<void> | undefined
  #refreshedAt = Number.NEGATIVE_INFINITY
  #devicesView: Device[] | undefined

  constructor(db: Db) {
    this.#db = db
  }

  /** Reads the configuration; the answer holds everything committed before the call. */
  refresh(): Promise<void> {
    if (!this.#refreshing) {
      this.#refreshing = this.#read().finally(() => {
        this.#refreshing = undefined
      })
      return this.#refreshing
    }
    // The read under way may have begun before the caller's change: one more, shared, after it.
    this.#again ??= this.#refreshing
      .catch(() => {})
      .then(() => {
        this.#again = undefined
        return this.refresh()
      })
    return this.#again
  }

  /**
   * For a name that is not known here: another tracker may have just made it. Resolves after a read
   * that began after the call; those who ask within a while share one, so that asking for names that
   * do not exist costs the database little.
   */
  refreshAfterMiss(): Promise<void> {
    this.#afterMiss ??= (async () => {
      // Also without a wait not in this turn, in which the promise is not yet there to be cleared.
      await sleep(Math.max(0, this.#refreshedAt + missRefreshMs - performance.now()))
      this.#afterMiss = undefined
      await this.refresh()
    })()
    return this.#afterMiss
  }

  async #read(): Promise<void> {
    this.#refreshedAt = performance.now()
    this.snapshot = await readSnapshot(this.#db)
    this.#devicesView = undefined
  }

  /** Notes what the monitor saw of a host. */
  observeHost(id: number, observed: HostObservation): void {
    if (this.#hosts.get(id) === observed) return
    this.#hosts.set(id, observed)
    this.#devicesView = undefined
  }

  /** Notes what the monitor saw of a device. */
  observeDevice(devid: number, observation: Observation): void {
    this.#devices.set(devid, { ...this.#devices.get(devid), ...observation })
    this.#devicesView = undefined
  }

  hostObservation(id: number): HostObservation {
    return this.#hosts.get(id) ?? 'unknown'
  }

  deviceObservation(devid: number): DeviceObservation {
    return this.#devices.get(devid)?.state ?? 'unknown'
  }

  /** Every device with its host, as configured and observed. */
  devices(): readonly Device[] {
    this.#devicesView ??= this.#buildDevices()
    return this.#devicesView
  }

  /** One device; undefined when no such device is configured. */
  device(devid: number): Device | undefined {
    return this.devices().find(device => device.devid === devid)
  }

  #buildDevices(): Device[] {
    const { devices, hosts } = this.snapshot
    const hostViews = new Map(
      [...hosts.values()].map(({ id, name, status }) => [
        id,
        { id, name, status, observed: this.hostObservation(id) },
      ]),
    )
    return [...devices.values()].flatMap(({ hostId, devid, status, weight, ...usage }) => {
      const host = hostViews.get(hostId)
      if (!host) return []
      const seen = this.#devices.get(devid)
      return {
        devid,
        status,
        weight,
        host,
        observed: seen?.state ?? 'unknown',
        totalBytes: seen?.totalBytes ?? usage.totalBytes,
        usedBytes: seen?.usedBytes ?? usage.usedBytes,
      }
    })
  }
}
