/** Queues files for replication after something about many of them changed, a batch at a time. */
import type { Context } from '../cluster/context.ts'
import { judgeReplicas } from '../cluster/judge.ts'
import { holdsFiles } from '../policy/device.ts'
import { countReplications } from '../store/replicas.ts'
import {
  advanceReview,
  claimReview,
  lastRound,
  listReviewed,
  removeFinishedReviews,
  restReview,
  type Review,
} from '../store/reviews.ts'
import type { Worker } from './loop.ts'

/** Files looked at in one step. */
const span = 2_000
/** Files that may wait for replication before the next step, so that new ones come to their turn. */
const mostWaiting = 10_000
/** Seconds of one step. */
const stepSeconds = 30
/** Seconds that a review is remembered after its end, for the estimate of how long the work takes. */
const rememberSeconds = 3600

export function createReviewWorker(ctx: Context): Worker {
  return {
    name: 'review',
    restMs: 1_000,
    async pass() {
      const review = await claimReview(ctx.db, stepSeconds)
      if (!review) {
        await removeFinishedReviews(ctx.db, rememberSeconds)
        return 0
      }
      if ((await countReplications(ctx.db, mostWaiting)) >= mostWaiting) {
        await restReview(ctx.db, review, 0)
        return 0
      }
      return ctx.politely(() => step(ctx, review))
    },
  }
}

/** Looks at some files; 0 when another tracker has done it meanwhile. */
async function step(ctx: Context, review: Review): Promise<number> {
  const { files, last } = await listReviewed(ctx.db, review, span)
  // Of all files, most are as they should be; of the others every one is affected.
  const ofAll = review.classId === null && review.devids === null
  if (ofAll) await ctx.cluster.refresh()
  const affected = ofAll
    ? files.filter(file => judgeReplicas(ctx, file).kind !== 'satisfied')
    : files
  const holding = new Set(
    ctx.cluster.devices().flatMap(device => (holdsFiles(device) ? [device.devid] : [])),
  )
  const counted = affected.map(({ fid, slot, devids }) => ({
    fid,
    slot,
    copies: devids.filter(devid => holding.has(devid)).length,
  }))
  const chosen = counted.filter(({ copies }) => copies > 1 === (review.round === lastRound))
  const advanced = await advanceReview(ctx.db, review, {
    files: chosen,
    last,
    patient: ofAll,
  })
  if (advanced && chosen.length > 0) ctx.wake('replicate')
  return advanced ? 1 : 0
}
