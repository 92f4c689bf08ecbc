/**
 * Queues what fsck, rebalance and drains are to do next, and counts files. One tracker does it; any may
 * be that one.
 */
import { randomUUID } from 'node:crypto'
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { advanceRebalance } from '../cluster/rebalance.ts'
import { queueLimits } from '../cluster/snapshot.ts'
import { forgetDamageOfGone } from '../store/checks.ts'
import { advanceDrain, claimDrains, countDrainUploads, dropStaleDrains } from '../store/drains.ts'
import { queueChecks } from '../store/fsck.ts'
import { takeLease } from '../store/leases.ts'
import { countMoves, insertMoves, listFilesOn } from '../store/rebalance.ts'
import type { Worker } from './loop.ts'
import { createTally } from './tally.ts'

/** Milliseconds between two steps: the limits are so many files a second. */
const restMs = 1_000
/** Milliseconds between two looks for what is still noted of files that are gone: nobody is told of it. */
const forgetMs = 3600_000
/** Seconds after which another tracker goes on when the one that does it is gone. */
const leaseSeconds = 10

export function createUpkeepWorker(ctx: Context): Worker {
  const lease = { name: 'upkeep', holder: randomUUID() }
  const tally = createTally(ctx)
  let forgotAt = Number.NEGATIVE_INFINITY
  const forgetGone = async (): Promise<void> => {
    if (performance.now() - forgotAt < forgetMs) return
    await forgetDamageOfGone(ctx.db)
    forgotAt = performance.now()
  }
  return {
    name: 'upkeep',
    restMs,
    async pass(_signal, log) {
      if (!(await takeLease(ctx.db, lease, leaseSeconds))) return 0
      // What one of them cannot do keeps none of the others from it.
      const steps = [
        () => queueFsck(ctx),
        () => queueMoves(ctx, log),
        () => queueDrains(ctx),
        () => countDrainUploads(ctx.db),
        tally,
        forgetGone,
      ]
      for (const step of steps) await attempt(step, log)
      return 0
    },
  }
}

async function attempt(step: () => Promise<unknown>, log: Logger): Promise<void> {
  try {
    await step()
  } catch (err) {
    log.error({ err }, 'step failed')
  }
}

async function queueFsck(ctx: Context): Promise<void> {
  const limits = queueLimits(ctx.cluster.snapshot, 'fsck')
  const queued = await ctx.db.transaction(tx => queueChecks(tx, limits))
  if (queued > 0) ctx.wake('fsck')
}

async function queueMoves(ctx: Context, log: Logger): Promise<void> {
  if ((await advanceRebalance(ctx, log)) > 0) ctx.wake('rebalance')
}

async function queueDrains(ctx: Context): Promise<void> {
  await ctx.db.transaction(dropStaleDrains)
  const { rate, size } = queueLimits(ctx.cluster.snapshot, 'rebal')
  for (const { devid, position } of await claimDrains(ctx.db, leaseSeconds)) {
    const room = size - (await countMoves(ctx.db, size))
    const limit = Math.min(rate, room)
    if (limit <= 0) return
    const files = await listFilesOn(ctx.db, { devid, after: position, newestFirst: false, limit })
    await insertMoves(
      ctx.db,
      files.map(({ fid, slot }) => ({ fid, slot, devid, devids: [] })),
    )
    // Behind the last one it begins again: some may have come, and some gone and come back.
    const last = files.length < limit ? 0 : (files.at(-1)?.fid ?? 0)
    await advanceDrain(ctx.db, { devid, position: last })
    if (files.length > 0) ctx.wake('rebalance')
  }
}
