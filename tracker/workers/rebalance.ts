/** Moves the replicas that rebalance and drains have queued. One that cannot be moved now is tried again. */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { moveReplica } from '../cluster/move.ts'
import { clearingSeconds, retrySeconds } from '../policy/retry.ts'
import {
  claimMoves,
  deferMove,
  extendMove,
  leaseSeconds,
  removeMove,
  type MoveJob,
} from '../store/rebalance.ts'
import { createJobWorker, type Worker } from './loop.ts'

/** Milliseconds after which the claim of a move that takes long is extended, again and again. */
const extendMs = (leaseSeconds / 3) * 1000

export function createRebalanceWorker(ctx: Context): Worker {
  return createJobWorker<MoveJob>({
    name: 'rebalance',
    batch: 64,
    concurrency: 8,
    claim: limit => claimMoves(ctx.db, limit),
    async handle(job, signal, log) {
      // It may have waited for its turn longer than the claim holds.
      if (signal.aborted || !(await extendMove(ctx.db, job))) return
      signal.throwIfAborted()
      const cut = new AbortController()
      const stop = (): void => cut.abort(signal.reason)
      signal.addEventListener('abort', stop, { once: true })
      const extending = setInterval(() => {
        extendMove(ctx.db, job).then(
          held => {
            if (!held) cut.abort(new Error('somebody else has the job'))
          },
          (err: unknown) => log.warn({ err, fid: job.fid }, 'lease not extended'),
        )
      }, extendMs)
      try {
        await move(ctx, job, { signal: cut.signal, log })
      } catch (err) {
        if (!cut.signal.aborted) throw err
      } finally {
        clearInterval(extending)
        signal.removeEventListener('abort', stop)
      }
    },
  })
}

async function move(
  ctx: Context,
  job: MoveJob,
  work: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<void> {
  const { fid, devid: from, attempts } = job
  const outcome = await moveReplica(ctx, job, work)
  if (outcome.kind === 'kept') work.log.info({ fid, devid: from, reason: outcome.why }, 'not moved')
  if (outcome.kind === 'clearing') {
    return deferMove(ctx.db, job, { seconds: clearingSeconds, error: outcome.why })
  }
  if (outcome.kind !== 'failed') return removeMove(ctx.db, job)
  // Operators look for these words.
  const url = ctx.urls.plain({ devid: from, fid }, { method: 'GET' })
  work.log.warn(`Rebalance for ${from}:${fid} (${url}) failed: ${outcome.why}`)
  const seconds = ctx.cluster.patience(retrySeconds(attempts, ctx.random))
  await deferMove(ctx.db, job, { seconds, error: outcome.why })
}
