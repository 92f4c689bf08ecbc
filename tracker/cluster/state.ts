/**
 * Hosts, devices, domains and classes in memory: as configured (a snapshot of the database, read
 * anew all the time) and as observed (what the monitor saw; never stored).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  isReadable,
  type Device,
  type DeviceObservation,
  type HostObservation,
  type Load,
} from '../policy/device.ts'
import { handOverSeconds } from '../policy/retry.ts'
import type { CustomPolicy } from '../policy/verdict.ts'
import type { Db } from '../store/db.ts'
import { emptySnapshot, readSnapshot, type Snapshot } from './snapshot.ts'
import { createPlaces } from './zones.ts'

/** What the monitor saw of a device. */
export interface Observation {
  readonly state: DeviceObservation
  readonly totalBytes?: number
  readonly usedBytes?: number
  /** Percent of the time that the disk is busy; undefined: not told. */
  readonly utilization?: number | undefined
  /** Seconds that its node's clock is ahead; undefined: about right, or not told. */
  readonly skewSeconds?: number | undefined
  /** Its node refuses what is not as its Content-MD5 says; undefined: not seen yet. */
  readonly rejectsBadMd5?: boolean | undefined
  /** Why it is not as it should be, as a sentence; undefined: it is, or nobody told. */
  readonly why?: string | undefined
}

/** Files that were sent to a device since it last told how full it is count as under way. */
interface Traffic {
  files: number
  bytes: number
  /** What was sent that its next report will tell of. */
  settledFiles: number
  settledBytes: number
}

/** Milliseconds for which the word of another tracker that it reaches a device is good. */
const wordMs = 10_000
/** Milliseconds for which a device that has kept silent here is left to the others. */
const silenceMs = 60_000

/** Least milliseconds between reads for names that are not known here. */
const missRefreshMs = 250

export class ClusterState {
  snapshot: Snapshot = emptySnapshot
  /** What plugins bring, by name. */
  policies: ReadonlyMap<string, CustomPolicy> = new Map()
  readonly #db: Db
  readonly #hosts = new Map<number, HostObservation>()
  readonly #devices = new Map<number, Observation>()
  /** When another tracker was last known to reach a device. */
  readonly #reachedAt = new Map<number, number>()
  /** When a device last kept silent to this one. */
  readonly #silentAt = new Map<number, number>()
  readonly #traffic = new Map<number, Traffic>()
  #refreshing: Promise<void> | undefined
  #again: Promise<void> | undefined
  #afterMiss: Promise<void> | undefined
  #refreshedAt = Number.NEGATIVE_INFINITY
  #devicesView: Map<number, Device> | undefined
  #devicesList: readonly Device[] = []

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
    if (observation.usedBytes === undefined) return
    const traffic = this.#trafficOf(devid)
    traffic.files -= traffic.settledFiles
    traffic.bytes -= traffic.settledBytes
    traffic.settledFiles = 0
    traffic.settledBytes = 0
  }

  /**
   * Notes that a file of `size` bytes is on its way to a device, so that the next one may go elsewhere.
   * To be called back when it has arrived or will not: it counts until the device next reports.
   */
  expect(devid: number, size: number): () => void {
    const traffic = this.#trafficOf(devid)
    traffic.files++
    traffic.bytes += size
    let done = false
    return () => {
      if (done) return
      done = true
      traffic.settledFiles++
      traffic.settledBytes += size
    }
  }

  #trafficOf(devid: number): Traffic {
    let traffic = this.#traffic.get(devid)
    if (!traffic) {
      traffic = { files: 0, bytes: 0, settledFiles: 0, settledBytes: 0 }
      this.#traffic.set(devid, traffic)
    }
    return traffic
  }

  /** Notes that another tracker reaches a device now. */
  noteReached(devid: number): void {
    this.#reachedAt.set(devid, performance.now())
  }

  /** Notes that a device did not answer this tracker, whoever sees it. */
  noteSilence(devid: number): void {
    this.#silentAt.set(devid, performance.now())
  }

  /** Devices that this tracker cannot reach and another one can: what is to be done there is left to that. */
  outOfReach(): number[] {
    const now = performance.now()
    const isRecent = (at = -Infinity, ms: number): boolean => now - at < ms
    return this.devices().flatMap(device => {
      const { devid } = device
      const silent = !isReadable(device) || isRecent(this.#silentAt.get(devid), silenceMs)
      return silent && isRecent(this.#reachedAt.get(devid), wordMs) ? [devid] : []
    })
  }

  /** Seconds to wait after a failure: `seconds`, or few while another tracker may have no such trouble. */
  patience(seconds: number): number {
    return this.outOfReach().length > 0 ? Math.min(seconds, handOverSeconds) : seconds
  }

  /** What was last seen of a device by this tracker, or told to it. */
  observation(devid: number): Observation | undefined {
    return this.#devices.get(devid)
  }

  hostObservation(id: number): HostObservation {
    return this.#hosts.get(id) ?? 'unknown'
  }

  deviceObservation(devid: number): DeviceObservation {
    return this.#devices.get(devid)?.state ?? 'unknown'
  }

  /** Every device with its host, as configured and observed. */
  devices(): readonly Device[] {
    this.#view()
    return this.#devicesList
  }

  /** One device; undefined when no such device is configured. */
  device(devid: number): Device | undefined {
    return this.#view().get(devid)
  }

  #view(): ReadonlyMap<number, Device> {
    if (!this.#devicesView) {
      this.#devicesList = this.#buildDevices()
      this.#devicesView = new Map(this.#devicesList.map(device => [device.devid, device]))
    }
    return this.#devicesView
  }

  #buildDevices(): Device[] {
    const { devices, hosts, settings } = this.snapshot
    const placeOf = createPlaces(settings)
    const hostViews = new Map(
      [...hosts.values()].map(row => {
        const { id, name, status } = row
        return [id, { id, name, status, observed: this.hostObservation(id), ...placeOf(row) }]
      }),
    )
    return [...devices.values()].flatMap(({ hostId, devid, status, weight, lostAt, ...usage }) => {
      const host = hostViews.get(hostId)
      if (!host) return []
      const seen = this.#devices.get(devid)
      const load: Load = this.#trafficOf(devid)
      const problem = problemOf(seen)
      return {
        devid,
        status,
        weight,
        host,
        load,
        lost: lostAt !== null,
        clockSkewed: seen?.skewSeconds !== undefined,
        observed: seen?.state ?? 'unknown',
        totalBytes: seen?.totalBytes ?? usage.totalBytes,
        usedBytes: seen?.usedBytes ?? usage.usedBytes,
        ...(seen?.utilization !== undefined && { utilization: seen.utilization }),
        ...(problem !== undefined && { problem }),
      }
    })
  }
}

function problemOf({ skewSeconds, why }: Partial<Observation> = {}): string | undefined {
  if (skewSeconds === undefined) return why
  const direction = skewSeconds > 0 ? 'ahead' : 'behind'
  return `clock_skew: the clock of its node is ${Math.abs(skewSeconds)} s ${direction}`
}
