/** Removes the bytes of deleted, replaced and abandoned files from their devices. */
import type { Context } from '../cluster/context.ts'
import { isDeletable } from '../policy/device.ts'
import { findFileByFid } from '../store/files.ts'
import { claimDeletions, deferDeletion, removeDeletion, type DeleteJob } from '../store/jobs.ts'
import { createJobWorker, type Worker } from './loop.ts'

export function createDeleteWorker(ctx: Context): Worker {
  return createJobWorker({
    name: 'delete',
    batch: 100,
    concurrency: 16,
    claim: limit => claimDeletions(ctx.db, limit),
    handle: (job, signal) => handle(ctx, job, signal),
  })
}

async function handle(ctx: Context, job: DeleteJob, signal: AbortSignal): Promise<void> {
  if (await findFileByFid(ctx.db, job.fid)) {
    ctx.log.error({ fid: job.fid }, 'a live file is queued for deletion; left alone')
    return removeDeletion(ctx.db, job)
  }
  const outcomes = await Promise.all(
    job.devids.map(devid => removeFrom(ctx, { devid, job }, signal)),
  )
  const left = outcomes.filter(outcome => outcome !== undefined)
  if (left.length === 0) return removeDeletion(ctx.db, job)
  await deferDeletion(ctx.db, job, {
    devids: left.map(({ devid }) => devid),
    seconds: Math.max(...left.map(({ seconds }) => seconds)),
    error: left.map(({ error }) => error).join('; '),
  })
}

interface Left {
  readonly devid: number
  readonly seconds: number
  readonly error: string
}

/** Undefined when the bytes are gone, or gone with their device. */
async function removeFrom(
  ctx: Context,
  { devid, job }: { devid: number; job: DeleteJob },
  signal: AbortSignal,
): Promise<Left | undefined> {
  const device = ctx.cluster.device(devid)
  const tries = job.attempts - 1
  if (device?.status === 'dead') return undefined
  if (!device) return { devid, seconds: 3600, error: `device ${devid} is not configured` }
  if (!isDeletable(device)) {
    return { devid, seconds: 3600 * (1 + tries), error: `device ${devid} is not in service` }
  }
  if (device.host.observed !== 'reachable' || device.observed !== 'writeable') {
    return { devid, seconds: 15 * (1 + tries), error: `device ${devid} cannot be written now` }
  }
  const url = ctx.urls.replica({ devid, fid: job.fid }, { method: 'DELETE', seconds: 60 })
  try {
    if (url) await ctx.storage.remove(url, { signal })
    return undefined
  } catch (err) {
    signal.throwIfAborted()
    const why = err instanceof Error ? err.message : String(err)
    return { devid, seconds: 60 * (1 + tries), error: `device ${devid}: ${why}` }
  }
}
