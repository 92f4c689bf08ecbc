/** Moves the replicas that rebalance and drains have queued. One that cannot be moved now is tried again. */
import type { Context } from '../cluster/context.ts'
import { moveReplica } from '../cluster/move.ts'
import { retrySeconds } from '../policy/retry.ts'
import { claimMoves, deferMove, removeMove, type MoveJob } from '../store/rebalance.ts'
import { createJobWorker, type Worker } from './loop.ts'

export function createRebalanceWorker(ctx: Context): Worker {
  return createJobWorker<MoveJob>({
    name: 'rebalance',
    batch: 64,
    concurrency: 8,
    claim: limit => claimMoves(ctx.db, limit),
    async handle(job, signal, log) {
      const { fid, devid: from, devids, attempts } = job
      const to = devids.length > 0 ? new Set(devids) : undefined
      const outcome = await moveReplica(ctx, { fid, from, to }, { signal, log })
      if (outcome.kind !== 'failed') return removeMove(ctx.db, job)
      // Operators look for these words.
      const url = ctx.urls.plain({ devid: from, fid }, { method: 'GET' })
      log.warn(`Rebalance for ${from}:${fid} (${url}) failed: ${outcome.why}`)
      await deferMove(ctx.db, job, {
        seconds: retrySeconds(attempts, ctx.random),
        error: outcome.why,
      })
    },
  })
}
