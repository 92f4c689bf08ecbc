/** Removes the bytes of deleted, replaced and abandoned files, and of dropped replicas, from devices. */
import type { Context } from '../cluster/context.ts'
import { isSilence } from '../cluster/inspect.ts'
import { isDeletable } from '../policy/device.ts'
import { handOverSeconds } from '../policy/retry.ts'
import {
  claimDeletions,
  deferDeletion,
  listKeepers,
  settleDeletions,
  type DeleteJob,
  type Keeper,
  type Settled,
} from '../store/deletions.ts'
import { inLanes, type Worker } from './loop.ts'

/** Jobs claimed at once, and handled at once: those on one device go out together. */
const batch = 1_000
const concurrency = 400

/** Seconds that a node may take until it looks at the signature. */
const urlSeconds = 120

export function createDeleteWorker(ctx: Context): Worker {
  let queued = 0
  return {
    name: 'delete',
    restMs: 1_000,
    get queued() {
      return queued
    },
    async pass(signal, log) {
      const jobs = await claimDeletions(ctx.db, batch, ctx.cluster.outOfReach())
      if (jobs.length === 0) return 0
      const keepers = await listKeepers(
        ctx.db,
        jobs.map(({ fid }) => fid),
      )
      const settled: Settled[] = []
      queued += jobs.length
      await inLanes(jobs, concurrency, async job => {
        queued--
        try {
          const kept = keepers.filter(({ fid }) => fid === job.fid)
          settled.push(await ctx.politely(() => handle(ctx, job, kept, signal)))
        } catch (err) {
          if (!signal.aborted) log.error({ err, fid: job.fid }, 'job failed')
        }
      })
      await settleDeletions(ctx.db, settled)
      return jobs.length
    },
  }
}

async function handle(
  ctx: Context,
  job: DeleteJob,
  keepers: readonly Keeper[],
  signal: AbortSignal,
): Promise<Settled> {
  const { fid, slot, devids } = job
  const live = keepers.flatMap(keeper => (keeper.seconds === null ? keeper.devids : []))
  const trash = keepers.find(({ seconds }) => seconds !== null)
  const kept = devids.filter(devid => live.includes(devid))
  const later = devids.filter(devid => trash?.devids.includes(devid) && !kept.includes(devid))
  const outcomes = await Promise.all(
    devids
      .filter(devid => !kept.includes(devid) && !later.includes(devid))
      .map(devid => removeFrom(ctx, { devid, job }, signal)),
  )
  const left = outcomes.filter(outcome => outcome.kind === 'left')
  if (left.length > 0 || later.length > 0) {
    await deferDeletion(ctx.db, job, {
      seconds: Math.max(0, trash?.seconds ?? 0, ...left.map(({ seconds }) => seconds)),
      error: left.map(({ error }) => error).join('; ') || null,
    })
  }
  const gone = outcomes.filter(({ kind }) => kind !== 'left').map(({ devid }) => devid)
  const removed = outcomes.filter(({ kind }) => kind === 'removed').map(({ devid }) => devid)
  return { fid, slot, done: [...kept, ...gone], removed }
}

type Outcome =
  | { readonly kind: 'removed'; readonly devid: number }
  /** Gone with its device. */
  | { readonly kind: 'lost'; readonly devid: number }
  | {
      readonly kind: 'left'
      readonly devid: number
      readonly seconds: number
      readonly error: string
    }

/** Waits between tries are those of MogileFS; a device that comes back is cleaned at once. */
async function removeFrom(
  ctx: Context,
  { devid, job }: { devid: number; job: DeleteJob },
  signal: AbortSignal,
): Promise<Outcome> {
  const device = ctx.cluster.device(devid)
  const failures = job.attempts - 1
  const leave = (seconds: number, error: string): Outcome => ({
    kind: 'left',
    devid,
    seconds,
    error,
  })
  if (device?.status === 'dead') return { kind: 'lost', devid }
  if (!device) return leave(3600, `device ${devid} is not configured`)
  if (!isDeletable(device)) {
    return leave(3600 * (1 + failures), `device ${devid} is not in service`)
  }
  const later = (): number =>
    ctx.cluster.outOfReach().includes(devid) ? handOverSeconds : 60 * (10 + failures)
  if (device.host.observed !== 'reachable' || device.observed !== 'writeable') {
    return leave(later(), `device ${devid} cannot be written now`)
  }
  const url = ctx.urls.replica({ devid, fid: job.fid }, { method: 'DELETE', seconds: urlSeconds })
  const together = ctx.urls.several(devid, 'deletions', { seconds: urlSeconds })
  try {
    if (url) await ctx.storage.remove(url, { together, signal })
    return { kind: 'removed', devid }
  } catch (err) {
    signal.throwIfAborted()
    const why = err instanceof Error ? err.message : String(err)
    // A node that starts anew may be back before anybody has seen it away.
    if (isSilence(err)) ctx.cluster.noteSilence(devid)
    const seconds = isSilence(err) ? later() : 1800 * (1 + failures)
    return leave(seconds, `device ${devid}: ${why}`)
  }
}
