/**
 * One look at a device: how full it is, and whether what is written comes back (MogileFS-Server,
 * `lib/MogileFS/Worker/Monitor.pm`).
 */
import { createHash } from 'node:crypto'
import { isCoded } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import type { Device, DeviceObservation } from '../policy/device.ts'
import type { HostRow } from '../store/hosts.ts'

/** Milliseconds a node has for each answer. */
const answerMs = 2_000
/** Seconds that URLs for looking work, so that a node whose clock is a day ahead can say so. */
const urlSeconds = 2 * 86_400
/** Seconds that a node's clock may differ: signatures allow for no more. */
const skewAllowed = 60

export interface Usage {
  readonly totalBytes: number
  readonly usedBytes: number
  /** Percent of the time that the disk is busy. */
  readonly utilization: number | undefined
  /** The node's clock, Unix time in seconds. */
  readonly time: number | undefined
  /** Files that it could not read of late; absent: none. */
  readonly unreadable?: readonly number[]
}

export interface Look {
  readonly state: DeviceObservation
  /** Its node gave an answer, if only to say that there is no such device. */
  readonly answered: boolean
  readonly usage?: Usage
  /** Seconds that the node's clock is ahead, when that is more than signatures allow for. */
  readonly skewSeconds?: number | undefined
  /** Its node refused what was not as its Content-MD5 said; undefined: it was not asked, or kept silent. */
  readonly rejectsBadMd5?: boolean | undefined
  /** Why it is not as it should be. */
  readonly why?: string
}

type Eyes = Pick<Context, 'urls' | 'storage' | 'directories' | 'random'>

export interface ProbeOptions {
  /** Test it by writing; else it is at most readable, or what it was. */
  readonly test: boolean
  /** What it is while its usage tells no sizes, as that of a server that is just writing it. */
  readonly before: DeviceObservation
  /** Unix time in seconds by the database's clock. */
  readonly now: () => number
}

/** Looks at a device. Never rejects. */
export async function probe(
  ctx: Eyes,
  { device, host }: { readonly device: Device; readonly host: HostRow },
  { test, before, now }: ProbeOptions,
): Promise<Look> {
  const { devid } = device
  const url = ctx.urls.object(
    host,
    { devid, name: 'usage' },
    { method: 'GET', seconds: urlSeconds },
  )
  try {
    const text = await ctx.storage.text(url, { signal: AbortSignal.timeout(answerMs) })
    const usage = parseUsage(text)
    if (!usage) return { state: before, answered: true, why: 'its usage tells no sizes' }
    const skewSeconds = await skewOf(ctx, url, usage, now())
    if (device.status === 'readonly' || host.status === 'readonly' || skewSeconds !== undefined) {
      return { state: 'readable', answered: true, usage, skewSeconds }
    }
    if (!test) return { state: 'writeable', answered: true, usage }
    const why = await writeTest(ctx, host, devid)
    if (why !== undefined) return { state: 'readable', answered: true, usage, why }
    const rejectsBadMd5 = await digestTest(ctx, host, devid)
    return { state: 'writeable', answered: true, usage, rejectsBadMd5 }
  } catch (err) {
    return {
      state: 'unreachable',
      answered: isRefusal(err),
      why: err instanceof Error ? err.message : String(err),
    }
  }
}

/**
 * Only nodes of ours tell the time when they are asked; others' usage is a file that something wrote
 * some time ago.
 */
async function skewOf(
  { storage }: Eyes,
  url: string,
  { time }: Usage,
  now: number,
): Promise<number | undefined> {
  const skew = time === undefined ? 0 : Math.round(time - now)
  if (Math.abs(skew) <= skewAllowed) return undefined
  const can = await storage.capabilities(url, { signal: AbortSignal.timeout(answerMs) })
  return can.size > 0 ? skew : undefined
}

/** Reads a usage file: lines of `key: value`, sizes in KiB. Undefined when a size is missing or 0. */
export function parseUsage(text: string): Usage | undefined {
  const value = (key: string): number | undefined => {
    const [, digits] = new RegExp(`^${key}:\\s*(\\d+(?:\\.\\d+)?)\\s*$`, 'm').exec(text) ?? []
    return digits === undefined ? undefined : Number(digits)
  }
  const totalBytes = (value('total') ?? 0) * 1024
  const usedBytes = (value('used') ?? 0) * 1024
  if (!(totalBytes > 0 && usedBytes > 0)) return undefined
  const [, fids] = /^unreadable:((?: \d{1,15})+)$/m.exec(text) ?? []
  return {
    totalBytes,
    usedBytes,
    utilization: value('utilization'),
    time: value('time'),
    ...(fids !== undefined && { unreadable: fids.trim().split(' ').map(Number) }),
  }
}

const badMd5 = createHash('md5').update('!').digest()

/** True when the node refuses a file with the digest of another one; undefined when it keeps silent. */
async function digestTest(ctx: Eyes, host: HostRow, devid: number): Promise<boolean | undefined> {
  const object = { devid, name: 'test-write/test-md5' }
  const url = ctx.urls.object(host, object, { method: 'PUT', seconds: urlSeconds })
  const signal = AbortSignal.timeout(answerMs)
  try {
    await ctx.storage.put(url, Buffer.from('.'), { size: 1, contentMd5: badMd5, signal })
    return false
  } catch (err) {
    return isRefusal(err) || undefined
  }
}

/** The node gave an answer; what keeps silent is cause of another error. */
const isRefusal = (err: unknown): boolean => isCoded(err) && err.cause === undefined

/** Undefined when what is written comes back. Another tracker may write the same name meanwhile. */
async function writeTest(ctx: Eyes, host: HostRow, devid: number): Promise<string | undefined> {
  await ctx.directories.forTest(host, devid)
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
      if (back === body.toString()) return undefined
    } catch (err) {
      return err instanceof Error ? err.message : String(err)
    }
  }
  return 'what is written does not come back'
}
