/**
 * Looks at every device in service. One tracker does so for all; the others take over what it saw, and
 * look themselves at what it cannot reach, or at everything when it is silent. Whoever looks for all
 * also decides which devices are treated as lost.
 */
import { randomUUID } from 'node:crypto'
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { applyLosses } from '../cluster/losses.ts'
import { isMonitored, type Device } from '../policy/device.ts'
import { nextHealth, unknownHealth, type Health } from '../policy/health.ts'
import { listContents, queueWholeChecks, type StoredContent } from '../store/checks.ts'
import { updateUsage } from '../store/hosts.ts'
import { hurryJobs } from '../store/jobs.ts'
import { takeLease } from '../store/leases.ts'
import {
  databaseSeconds,
  listObservations,
  putObservations,
  vouchFor,
  type Observation,
} from '../store/observations.ts'
import type { Worker } from './loop.ts'
import { probe, type Look } from './probe.ts'
import type { Utilization } from './utilization.ts'

/** Milliseconds between two rounds. */
const restMs = 2_500
/** Milliseconds between write tests of a device that passed its last one. */
const writeTestMs = 15_000
/** Seconds between notes of a device's usage with the device, over all trackers. */
const usageSeconds = 15
/** Seconds that one tracker looks for all, unless it goes on. */
const leaseSeconds = 10
/** What was seen longer ago than this says nothing about now, in seconds. */
const freshSeconds = 10

export interface Monitor extends Worker {
  /** Looks at everything itself; resolves after a round that began after the call. */
  round(): Promise<void>
}

type Eyes = Omit<Context, 'monitorRound'>

export function createMonitor(ctx: Eyes, log: Logger, utilization: Utilization): Monitor {
  const lease = { name: 'monitor', holder: randomUUID() }
  const watch = new Watch(ctx, log, utilization)
  let last: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined

  /** Rounds never overlap: what one is told to see must not be undone by one that looked before. */
  const queue = (work: () => Promise<void>): Promise<void> => {
    last = last.catch(() => {}).then(work)
    return last
  }
  return {
    name: 'monitor',
    restMs,
    round() {
      next ??= queue(async () => {
        next = undefined
        await watch.lookAtAll()
        await watch.publish()
      })
      return next
    },
    async pass() {
      await queue(async () => {
        // Without the database there is nobody to share with.
        const mine = await takeLease(ctx.db, lease, leaseSeconds).catch(() => true)
        if (!mine) return watch.takeOver()
        await watch.lookAtAll()
        await watch.publish()
        await applyLosses(ctx, log)
      })
      return 0
    },
  }
}

/** What this tracker knows of devices from one round to the next. */
class Watch {
  readonly #ctx: Eyes
  readonly #log: Logger
  readonly #utilization: Utilization
  readonly #testedAt = new Map<number, number>()
  readonly #health = new Map<number, Health>()
  /** How far the database's clock is ahead of ours, in seconds. */
  #offset = 0

  constructor(ctx: Eyes, log: Logger, utilization: Utilization) {
    this.#ctx = ctx
    this.#log = log
    this.#utilization = utilization
  }

  /** Looks at every device itself. */
  async lookAtAll(): Promise<void> {
    await this.#readClock()
    await this.#lookAt(this.#forgetOthers())
    this.#listen()
  }

  /** Takes over what another tracker saw; looks itself at what that could not reach. */
  async takeOver(): Promise<void> {
    const devices = this.#forgetOthers()
    const seen = new Map<number, Observation>(
      (await listObservations(this.#ctx.db)).map(one => [one.devid, one]),
    )
    const doubtful: Device[] = []
    for (const device of devices) {
      const one = seen.get(device.devid)
      const fresh = one !== undefined && one.ageSeconds <= freshSeconds
      if (fresh && one.awaySeconds === null) this.#ctx.cluster.noteReached(device.devid)
      // Who has followed it knows best whether it is to be trusted with files.
      const isReached = one?.state === 'writeable' || one?.state === 'readable'
      if (fresh && isReached) this.#believe(device, one)
      else doubtful.push(device)
    }
    await this.#readClock()
    await this.#lookAt(doubtful)
    this.#listen()
    const readable = doubtful.filter(({ devid }) => {
      const away = seen.get(devid)?.awaySeconds ?? null
      return away !== null && this.#stateOf(devid) !== 'unreachable'
    })
    if (readable.length > 0) {
      await vouchFor(
        this.#ctx.db,
        readable.map(({ devid }) => devid),
      )
    }
  }

  /** Tells the other trackers what was seen. Logs what it cannot tell. */
  async publish(): Promise<void> {
    const { cluster, db } = this.#ctx
    const seen = cluster.devices().filter(isMonitored)
    try {
      if (seen.length === 0) return
      const observations = seen.map(({ devid, host, totalBytes, usedBytes, ...device }) => ({
        devid,
        state: device.observed,
        hostState: cluster.hostObservation(host.id),
        totalBytes,
        usedBytes,
        utilization: device.utilization ?? null,
        skewSeconds: cluster.observation(devid)?.skewSeconds ?? null,
        rejectsBadMd5: cluster.observation(devid)?.rejectsBadMd5 ?? null,
        why: cluster.observation(devid)?.why ?? null,
      }))
      for (const devid of await putObservations(db, observations)) cluster.noteReached(devid)
      const usages = seen.flatMap(({ devid, totalBytes, usedBytes, observed }) =>
        totalBytes !== null && usedBytes !== null && observed !== 'unreachable'
          ? [{ devid, totalBytes, usedBytes }]
          : [],
      )
      if (usages.length > 0) await updateUsage(db, usages, usageSeconds)
    } catch (err) {
      this.#log.warn({ err }, 'what was seen could not be noted')
    }
  }

  /** The devices to look at. What was seen of others holds no longer once they are in service again. */
  #forgetOthers(): Device[] {
    const all = this.#ctx.cluster.devices()
    for (const device of all) {
      if (isMonitored(device)) continue
      this.#health.delete(device.devid)
      this.#testedAt.delete(device.devid)
      this.#observe(device, { state: 'unknown', answered: false })
    }
    return all.filter(isMonitored)
  }

  async #readClock(): Promise<void> {
    try {
      const now = await databaseSeconds(this.#ctx.db)
      const offset = now - Date.now() / 1000
      if (Math.abs(offset) > 60 && Math.abs(this.#offset) <= 60) {
        this.#log.warn(
          { seconds: Math.round(-offset) },
          'the clock of this tracker is ahead by that',
        )
      }
      this.#offset = offset
    } catch {
      // The offset of the last time will do.
    }
  }

  async #lookAt(devices: readonly Device[]): Promise<void> {
    const looks = new Map(
      await Promise.all(devices.map(async device => [device, await this.#look(device)] as const)),
    )
    this.#observeHosts(looks)
    const back: number[] = []
    for (const [device, look] of looks) {
      const health = nextHealth(this.#health.get(device.devid) ?? unknownHealth, {
        seen: look.state,
        nowMs: performance.now(),
      })
      this.#health.set(device.devid, health)
      const before = this.#observe(device, { ...look, state: health.state })
      if (before !== 'writeable' && health.state === 'writeable') back.push(device.devid)
    }
    await this.#haveChecked(looks)
    if (back.length === 0) return
    await hurryJobs(this.#ctx.db, back).catch((err: unknown) =>
      this.#log.warn({ err }, 'what waits for devices that are back was not hurried'),
    )
  }

  /** Has files checked that their nodes say they could not read. */
  async #haveChecked(looks: ReadonlyMap<Device, Look>): Promise<void> {
    const { db, wake } = this.#ctx
    const told = [...looks].flatMap(([{ devid }, { usage }]) =>
      (usage?.unreadable ?? []).map(fid => ({ devid, fid })),
    )
    if (told.length === 0) return
    try {
      const files = await listContents(
        db,
        told.map(({ fid }) => fid),
      )
      const isThere = ({ fid, devids }: StoredContent): boolean =>
        told.some(one => one.fid === fid && devids.includes(one.devid))
      await queueWholeChecks(db, files.filter(isThere), { read: true })
      wake('fsck')
    } catch (err) {
      this.#log.warn({ err }, 'what cannot be read is not checked yet')
    }
  }

  async #look(device: Device): Promise<Look> {
    const { devid } = device
    const host = this.#ctx.cluster.snapshot.hosts.get(device.host.id)
    if (!host) return { state: 'unknown', answered: false }
    const due = performance.now() - (this.#testedAt.get(devid) ?? -Infinity) >= writeTestMs
    const before = this.#stateOf(devid)
    const test = due || before !== 'writeable'
    const now = (): number => Date.now() / 1000 + this.#offset
    const look = await probe(this.#ctx, { device, host }, { test, before, now })
    if (look.state !== 'writeable') this.#testedAt.delete(devid)
    else if (test && look.usage) this.#testedAt.set(devid, performance.now())
    return look
  }

  /** A host is there as long as one of its devices brings an answer. */
  #observeHosts(looks: ReadonlyMap<Device, Look>): void {
    const answered = new Map<number, boolean>()
    for (const [{ host }, look] of looks) {
      answered.set(host.id, look.answered || (answered.get(host.id) ?? false))
    }
    for (const [id, there] of answered) {
      this.#ctx.cluster.observeHost(id, there ? 'reachable' : 'unreachable')
    }
  }

  /** Has the hosts that are there tell how busy they are. */
  #listen(): void {
    const { cluster } = this.#ctx
    const { hosts } = cluster.snapshot
    const there = [...hosts.values()].filter(
      ({ id }) => cluster.hostObservation(id) === 'reachable',
    )
    this.#utilization.follow(there)
  }

  #stateOf(devid: number): Device['observed'] {
    return this.#ctx.cluster.deviceObservation(devid)
  }

  /** Returns what it was before. */
  #observe(
    device: Device,
    { state, usage, skewSeconds, rejectsBadMd5, why }: Look,
  ): Device['observed'] {
    const { devid } = device
    const before = this.#stateOf(devid)
    this.#ctx.cluster.observeDevice(devid, {
      state,
      skewSeconds,
      why,
      ...(rejectsBadMd5 !== undefined && { rejectsBadMd5 }),
      ...(usage && {
        totalBytes: usage.totalBytes,
        usedBytes: usage.usedBytes,
        utilization: this.#utilization.of(device) ?? usage.utilization,
      }),
    })
    if (before !== state) {
      const seen = { devid, state, before, ...(why && { reason: why }), skewSeconds }
      this.#log.info(seen, 'device observed')
    }
    return before
  }

  #believe(device: Device, one: Observation): void {
    const { totalBytes, usedBytes, utilization, skewSeconds, rejectsBadMd5, why } = one
    this.#ctx.cluster.observeHost(device.host.id, one.hostState)
    const usage =
      totalBytes !== null && usedBytes !== null
        ? { totalBytes, usedBytes, utilization: utilization ?? undefined, time: undefined }
        : undefined
    this.#health.set(device.devid, { ...unknownHealth, state: one.state, good: 1 })
    this.#observe(device, {
      state: one.state,
      answered: true,
      skewSeconds: skewSeconds ?? undefined,
      rejectsBadMd5: rejectsBadMd5 ?? undefined,
      ...(why !== null && { why }),
      ...(usage && { usage }),
    })
  }
}
