/** Gives files the replicas that their class asks for, and takes away those that are too many. */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { CopyError, placeReplica, readableSources, type Content } from '../cluster/copy.ts'
import { betterCopy, isClearing, judgeReplicas, spareReplicas } from '../cluster/judge.ts'
import { getClassRow, numberSetting } from '../cluster/snapshot.ts'
import { verifyReplica, verifySource } from '../cluster/verify.ts'
import { isDeletable, isReadable, type Device } from '../policy/device.ts'
import { clearingSeconds, retrySeconds } from '../policy/retry.ts'
import type { Verdict } from '../policy/verdict.ts'
import { findFileByFid } from '../store/files.ts'
import {
  claimReplications,
  deferReplication,
  insertDeletion,
  lateSeconds,
  leaseSeconds,
  type ReplicateJob,
} from '../store/jobs.ts'
import { dropReplica, listReplicaStates, type ReplicaState } from '../store/replicas.ts'
import { createClaims, type Claim, type Claims } from './replication-claims.ts'
import type { Worker } from './loop.ts'
import { Pace, Slots } from './pace.ts'

/** Jobs under way at once; with fewer than half of them, more are claimed. */
const mostJobs = 1_024

/** A file up to this size takes only a share of a device's copies at once: they go out together. */
const smallBytes = 256 * 1024
const smallShare = 1 / 8

/** Milliseconds after which a job's lease is extended, again and again. */
const extendMs = (leaseSeconds / 3) * 1000

interface Running {
  readonly job: Claim
  readonly cut: AbortController
  readonly startedAt: number
}

interface Shared {
  readonly ctx: Context
  readonly sources: Slots
  readonly destinations: Slots
  readonly bytes: Pace
  readonly files: Pace
  readonly claims: Claims
}

/** Creates the worker. Jobs outlive the pass that claimed them, so that long ones keep nobody waiting. */
export function createReplicateWorker(ctx: Context): Worker {
  const setting = (name: Parameters<typeof numberSetting>[1]): number =>
    numberSetting(ctx.cluster.snapshot, name)
  const perDevice = (): number => Math.max(1, setting('copies_per_device'))
  const shared: Shared = {
    ctx,
    sources: new Slots(perDevice),
    destinations: new Slots(perDevice),
    bytes: new Pace(() => setting('copy_mb_per_second') * 1_000_000),
    files: new Pace(() => setting('copy_files_per_second')),
    claims: createClaims(ctx.db),
  }
  /** By fid. */
  const running = new Map<number, Running>()
  const signals = new WeakSet<AbortSignal>()
  let roomy: (() => void)[] = []
  let extending: NodeJS.Timeout | undefined

  const extendAll = (): void => {
    for (const one of running.values()) {
      if (performance.now() - one.startedAt < extendMs) continue
      shared.claims.extend(one.job).then(
        held => {
          if (!held) one.cut.abort(new Error('somebody else has the job'))
        },
        (err: unknown) => ctx.log.warn({ err, fid: one.job.fid }, 'lease not extended'),
      )
    }
  }
  /** True when the file is worked on already: two copies at a time would get into each other's way. */
  const renew = (claimed: ReplicateJob): boolean => {
    const underWay = running.get(claimed.fid)
    if (!underWay || underWay.cut.signal.aborted) return false
    shared.claims.renew(underWay.job, claimed)
    return true
  }
  const start = (claimed: ReplicateJob, state: ReplicaState | undefined, work: Work): void => {
    if (renew(claimed)) return
    const job = { ...claimed, stale: false }
    const one: Running = { job, cut: new AbortController(), startedAt: performance.now() }
    running.set(job.fid, one)
    extending ??= setInterval(extendAll, extendMs / 2)
    void handle(shared, { job, state }, { ...work, signal: one.cut.signal })
      .catch((err: unknown) => {
        if (!one.cut.signal.aborted) work.log.error({ err, fid: job.fid }, 'job failed')
      })
      .finally(() => {
        if (running.get(job.fid) === one) running.delete(job.fid)
        if (running.size <= mostJobs / 2) {
          for (const resolve of roomy) resolve()
          roomy = []
        }
        if (running.size > 0) return
        clearInterval(extending)
        extending = undefined
      })
  }
  return {
    name: 'replicate',
    restMs: 1_000,
    get queued() {
      return running.size
    },
    async pass(signal, log) {
      if (!signals.has(signal)) {
        signals.add(signal)
        signal.addEventListener('abort', cutAll, { once: true })
      }
      if (running.size > mostJobs / 2) {
        await new Promise<void>(resolve => {
          roomy.push(resolve)
        })
      }
      if (signal.aborted) return 0
      const { readAt } = ctx.cluster.snapshot
      const jobs = await claimReplications(ctx.db, mostJobs - running.size, readAt)
      if (jobs.length === 0) return 0
      const begun = jobs.filter(job => job.news || !renew(job))
      if (begun.some(({ news }) => news)) await ctx.cluster.refresh()
      const read = await listReplicaStates(ctx.db, begun)
      const states = new Map(read.map(state => [state.fid, state]))
      // Nobody would cut off what begins behind the end.
      if (signal.aborted) return 0
      for (const job of begun) start(job, states.get(job.fid), { signal, log })
      return jobs.length
    },
  }

  function cutAll(): void {
    for (const { cut } of running.values()) cut.abort()
  }
}

interface Work {
  readonly signal: AbortSignal
  readonly log: Logger
}

interface Task {
  readonly job: Claim
  /** The file as it was read for this job; undefined: it is gone. */
  readonly state: ReplicaState | undefined
}

async function handle(shared: Shared, { job, state }: Task, work: Work): Promise<void> {
  const { ctx, claims } = shared
  const { signal, log } = work
  let file = state ?? (await claims.findRenamed(job))
  const failed = new Set<number>()
  const badSources = new Set<number>()
  while (file) {
    signal.throwIfAborted()
    if (job.stale) {
      file = await claims.find(job)
      continue
    }
    const avoid = new Set([...failed, ...file.leaving])
    const verdict = judgeReplicas(ctx, file, { avoid })
    switch (verdict.kind) {
      case 'satisfied':
        return claims.finish(job)
      case 'excess': {
        const trimmed = await trim(ctx, file, { signal, log })
        if (trimmed.kind === 'failed') return retry(ctx, job, trimmed.why)
        if (trimmed.kind === 'dropped') break
        if (job.stale) break
        const better = betterCopy(ctx, file, { avoid })
        if (!better) return claims.finish(job)
        const moved = await copyOne(
          shared,
          { job, file, verdict: better, failed, badSources },
          work,
        )
        if (moved === 'done') return
        if (moved) file = { ...file, devids: moved }
        continue
      }
      case 'stuck': {
        const which = failed.size > 0 ? ` (failed just now: ${[...failed].join(', ')})` : ''
        const why = verdict.why + which
        return isClearing(ctx, file, { avoid, leaving: file.leaving })
          ? deferReplication(ctx.db, job, { seconds: clearingSeconds, error: why })
          : retry(ctx, job, why)
      }
      case 'copy': {
        const made = await copyOne(shared, { job, file, verdict, failed, badSources }, work)
        if (made === 'done') return
        if (made) file = { ...file, devids: made }
        continue
      }
    }
    file = await claims.find(job)
  }
  // Deleted or replaced meanwhile.
  await claims.finish(job)
}

type Copy = Extract<Verdict, { kind: 'copy' }>

interface Ends {
  readonly from: Device
  readonly to: Device
}

interface Copying {
  readonly job: Claim
  readonly file: ReplicaState
  readonly verdict: Copy
  readonly failed: Set<number>
  readonly badSources: Set<number>
}

type Made = number[] | 'done' | undefined

/** The file's devices after one more copy; undefined when it failed; `done`: the job is over. */
async function copyOne(shared: Shared, copying: Copying, work: Work): Promise<Made> {
  const { job, file } = copying
  const ends = await chooseEnds(shared, copying)
  if (ends) return makeCopy(shared, { ...copying, ends }, work)
  await withoutSource(shared.ctx, job, file)
  return 'done'
}

/** Those with something to do wait behind those without. Undefined when no replica can be read now. */
async function chooseEnds(
  { ctx, sources, destinations }: Shared,
  { file, verdict, badSources }: Copying,
): Promise<Ends | undefined> {
  const readable = readableSources(ctx, file.devids).filter(({ devid }) => !badSources.has(devid))
  const ordered = (await ctx.hooks?.orderSources(readable, file.fid)) ?? readable
  const from = ordered.find(({ devid }) => sources.isFree(devid)) ?? ordered[0]
  const to = verdict.to.find(({ devid }) => destinations.isFree(devid)) ?? verdict.to[0]
  return from && to && { from, to }
}

async function makeCopy(
  shared: Shared,
  { job, file, ends, failed, badSources }: Copying & { readonly ends: Ends },
  { signal, log }: Work,
): Promise<Made> {
  const { ctx, sources, destinations } = shared
  const { fid, size } = file
  const [from, to] = [ends.from.devid, ends.to.devid]
  if (job.reviewed) {
    await shared.files.wait(1, signal)
    await shared.bytes.wait(size, signal)
  }
  const share = size <= smallBytes ? smallShare : 1
  await destinations.take(to, share)
  try {
    await sources.take(from, share)
    try {
      // It may have gone while this one waited for its turn.
      const source = ctx.cluster.device(from)
      if (!source || !isReadable(source)) return undefined
      const startedAt = performance.now()
      const content = contentOf(ctx, file)
      const leftOver = (): Promise<void> =>
        insertDeletion(ctx.db, job, { devids: [to], seconds: lateSeconds })
      const ends = { from, to, signal, leftOver }
      const { sha256, checksum } = await ctx.politely(() => placeReplica(ctx, content, ends))
      const ms = Math.round(performance.now() - startedAt)
      log.debug({ fid, devid: to, size, ms }, 'replicated')
      const then = { ...file, devids: [...file.devids, to] }
      const last = judgeReplicas(ctx, then).kind === 'satisfied'
      const recorded = await shared.claims.record(job, {
        fid,
        devid: to,
        last,
        sha256: sha256 ? Buffer.from(sha256, 'hex') : null,
        checksum:
          checksum && content.wanted
            ? { hashtype: hashtypes[content.wanted], digest: Buffer.from(checksum, 'hex') }
            : null,
      })
      if (recorded) return recorded.ended ? 'done' : recorded.devids
      await giveUp(shared, job, to)
      return 'done'
    } finally {
      sources.release(from, share)
    }
  } catch (err) {
    if (!(err instanceof CopyError)) throw err
    log.warn({ err, fid, devid: err.devid }, 'copy failed')
    if (err.end === 'source') {
      badSources.add(err.devid)
      await verifySource(ctx, { ...job, ...file }, err, signal)
    } else failed.add(err.devid)
    return undefined
  } finally {
    destinations.release(to, share)
  }
}

const hashtypes = { md5: 1, sha1: 2 } as const
const algorithms = { MD5: 'md5', 'SHA-1': 'sha1', NONE: undefined } as const

function contentOf({ cluster }: Context, file: ReplicaState): Content {
  const { fid, size, sha256, hashtype, checksum } = file
  const stored =
    checksum &&
    ({ algorithm: hashtype === 1 ? 'md5' : 'sha1', hex: checksum.toString('hex') } as const)
  const asked = getClassRow(cluster.snapshot, file)?.hashtype ?? 'NONE'
  return {
    fid,
    size,
    sha256: sha256?.toString('hex'),
    ...(stored ? { checksum: stored } : { wanted: algorithms[asked] }),
  }
}

/** A copy that could not be recorded: the file is gone or filed elsewhere, or the job is somebody else's. */
async function giveUp({ ctx, claims }: Shared, job: ReplicateJob, devid: number): Promise<void> {
  const live = (await findFileByFid(ctx.db, job.fid)) ?? (await listReplicaStates(ctx.db, [job]))[0]
  // Whoever has the job now may be about to record a copy on the same device.
  const seconds = live ? lateSeconds : 0
  await insertDeletion(ctx.db, live ?? job, { devids: [devid], seconds })
  if (!live) await claims.finish(job)
  else await retry(ctx, job, `the copy on device ${devid} came too late`)
}

type Trimmed =
  | { readonly kind: 'dropped' }
  /** No replica can go without the file having too few, or too close together. */
  | { readonly kind: 'needed' }
  | { readonly kind: 'failed'; readonly why: string }

/** Takes one replica away, once another one was looked at and is good. */
async function trim(ctx: Context, file: ReplicaState, { signal, log }: Work): Promise<Trimmed> {
  const spares = spareReplicas(ctx, file)
  if (spares.length === 0) return { kind: 'needed' }
  // What cannot be read now may be on its way to be lost: the others have to be enough without it.
  const readable = readableSources(ctx, file.devids).map(({ devid }) => devid)
  const spare = spareReplicas(ctx, { ...file, devids: readable }).find(isDeletable)
  if (!spare) return { kind: 'failed', why: 'no copy that is too many can be removed now' }
  let why = 'no other replica can be read now'
  for (const devid of readable.filter(one => one !== spare.devid)) {
    const seen = await verifyReplica(ctx, file, devid, signal)
    if (seen.kind !== 'good') {
      why = seen.why
      log.warn({ fid: file.fid, devid, reason: why }, 'replica not good; none is removed for it')
      continue
    }
    const { fid, devids } = file
    const change = { devid: spare.devid, verified: devid, before: devids }
    if (await dropReplica(ctx.db, file, change)) {
      log.info({ fid, devid: spare.devid }, 'excess replica dropped')
      ctx.wake('delete')
    }
    // Else somebody changed it: it is read anew in both cases.
    return { kind: 'dropped' }
  }
  return { kind: 'failed', why }
}

async function withoutSource(ctx: Context, job: ReplicateJob, file: ReplicaState): Promise<void> {
  const holders = file.devids.filter(devid => {
    const device = ctx.cluster.device(devid)
    return device && device.status !== 'dead'
  })
  if (holders.length > 0) return retry(ctx, job, 'no replica can be read now')
  const error = 'no device that is left has a replica of it'
  await deferReplication(ctx.db, job, { seconds: null, error })
}

function retry(ctx: Context, job: ReplicateJob, error: string): Promise<void> {
  const seconds = ctx.cluster.patience(retrySeconds(job.attempts, ctx.random))
  return deferReplication(ctx.db, job, { seconds, error })
}
