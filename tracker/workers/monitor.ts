/**
 * Looks at every device in service: how full it is, and whether what is written comes back
 * (MogileFS-Server, `lib/MogileFS/Worker/Monitor.pm`). What it sees stays in this tracker's memory.
 */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { isMonitored, type Device } from '../policy/device.ts'
import { updateUsage, type HostRow, type Usage } from '../store/hosts.ts'
import { hurryJobs } from '../store/jobs.ts'
import type { Worker } from './loop.ts'

/** Milliseconds a node has for each answer. */
const answerMs = 2_000
/** Milliseconds between write tests of a device that passed its last one. */
const writeTestMs = 15_000
/** A usage request that fails faster than this blames the device, a slower one its host. */
const fastFailureMs = 500
/** Seconds between notes of a device's usage in the database, over all trackers. */
const usageSeconds = 15
/** Seconds that the monitor's signed URLs work. */
const urlSeconds = 60

export interface Monitor extends Worker {
  /** Resolves after a round that began after the call. */
  round(): Promise<void>
}

export function createMonitor(ctx: Omit<Context, 'monitorRound' | 'wake'>, log: Logger): Monitor {
  const testedAt = new Map<number, number>()
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  const start = (): Promise<void> => {
    running = lookAtAll(ctx, testedAt, log).finally(() => {
      running = undefined
    })
    return running
  }
  const round = (): Promise<void> => {
    if (!running) return start()
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }
  return {
    name: 'monitor',
    restMs: 2_500,
    round,
    async pass() {
      await (running ?? start())
      return 0
    },
  }
}

type Eyes = Omit<Context, 'monitorRound' | 'wake'>

async function lookAtAll(ctx: Eyes, testedAt: Map<number, number>, log: Logger): Promise<void> {
  const all = ctx.cluster.devices()
  for (const device of all) {
    // What was seen of it holds no longer; it is looked at anew when it is in service again.
    if (!isMonitored(device)) observe(ctx, device, { state: 'unknown' }, log)
  }
  const devices = all.filter(isMonitored)
  const usages = await Promise.all(devices.map(device => lookAt(ctx, device, testedAt, log)))
  const known = usages.filter(usage => usage !== undefined)
  const back = devices.filter(
    ({ devid, observed }) =>
      observed !== 'writeable' && ctx.cluster.deviceObservation(devid) === 'writeable',
  )
  try {
    if (known.length > 0) await updateUsage(ctx.db, known, usageSeconds)
    const devids = back.map(({ devid }) => devid)
    if (devids.length > 0) await hurryJobs(ctx.db, devids)
  } catch (err) {
    log.warn({ err }, 'what was seen could not be noted')
  }
}

async function lookAt(
  ctx: Eyes,
  device: Device,
  testedAt: Map<number, number>,
  log: Logger,
): Promise<Usage | undefined> {
  const { devid } = device
  const host = ctx.cluster.snapshot.hosts.get(device.host.id)
  if (!host) return undefined
  const usage = await readUsage(ctx, host, devid, log)
  if (!usage) {
    testedAt.delete(devid)
    return undefined
  }
  const sizes = { totalBytes: usage.totalBytes, usedBytes: usage.usedBytes }
  const testIsDue = performance.now() - (testedAt.get(devid) ?? -Infinity) >= writeTestMs
  if (device.status === 'readonly' || host.status === 'readonly') {
    observe(ctx, device, { state: 'readable', ...sizes }, log)
  } else if (testIsDue || device.observed !== 'writeable') {
    const passed = await writeTest(ctx, host, devid)
    if (passed) testedAt.set(devid, performance.now())
    observe(ctx, device, { state: passed ? 'writeable' : 'readable', ...sizes }, log)
  } else {
    observe(ctx, device, { state: 'writeable', ...sizes }, log)
  }
  return usage
}

function observe(
  { cluster }: Eyes,
  { devid }: Device,
  observation: Parameters<Eyes['cluster']['observeDevice']>[1],
  log: Logger,
): void {
  const before = cluster.deviceObservation(devid)
  cluster.observeDevice(devid, observation)
  if (before !== observation.state) {
    log.info({ devid, state: observation.state, before }, 'device observed')
  }
}

async function readUsage(
  ctx: Eyes,
  host: HostRow,
  devid: number,
  log: Logger,
): Promise<Usage | undefined> {
  const startedAt = performance.now()
  const url = ctx.urls.object(
    host,
    { devid, name: 'usage' },
    { method: 'GET', seconds: urlSeconds },
  )
  try {
    const text = await ctx.storage.text(url, { signal: AbortSignal.timeout(answerMs) })
    ctx.cluster.observeHost(host.id, 'reachable')
    const usage = parseUsage(text)
    if (usage) return { devid, ...usage }
    log.warn({ devid }, 'usage without sizes')
    return undefined
  } catch (err) {
    const device = ctx.cluster.device(devid)
    if (performance.now() - startedAt >= fastFailureMs)
      ctx.cluster.observeHost(host.id, 'unreachable')
    if (device) observe(ctx, device, { state: 'unreachable' }, log)
    log.debug({ err, devid, host: host.name }, 'usage not read')
    return undefined
  }
}

/** Reads a usage file: lines of `key: value`, sizes in KiB. Undefined when a size is missing or 0. */
export function parseUsage(text: string): { totalBytes: number; usedBytes: number } | undefined {
  const value = (key: string): number =>
    Number(new RegExp(`^${key}:\\s*(\\d+)\\s*$`, 'm').exec(text)?.[1] ?? 0) * 1024
  const totalBytes = value('total')
  const usedBytes = value('used')
  return totalBytes > 0 && usedBytes > 0 ? { totalBytes, usedBytes } : undefined
}

/** True when what is written comes back. Another tracker may write the same name meanwhile. */
async function writeTest(ctx: Eyes, host: HostRow, devid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const n = Math.floor(ctx.random() * 100)
    const object = { devid, name: `test-write/test-write-${n}` }
    const body = Buffer.from(`time=${Math.floor(Date.now() / 1000)} rand=${ctx.random()}`)
    const urlOf = (method: 'GET' | 'PUT'): string =>
      ctx.urls.object(host, object, { method, seconds: urlSeconds })
    const signal = AbortSignal.timeout(answerMs)
    try {
      await ctx.storage.put(urlOf('PUT'), body, { size: body.length, signal })
      const back = await ctx.storage.text(urlOf('GET'), { signal })
      if (back === body.toString()) return true
    } catch {
      return false
    }
  }
  return false
}
