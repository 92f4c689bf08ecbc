/** Begins and ends to treat devices as lost, as one tracker does for all of them. */
import type { Logger } from '../../common/log.ts'
import { judgeLosses, type LossDecision } from '../policy/loss.ts'
import { listObservations, setLost, type Observation } from '../store/observations.ts'
import { cancelReviews, requestReview } from '../store/reviews.ts'
import { lockUpkeep } from '../store/upkeep.ts'
import type { Context } from './context.ts'
import { inMaintenance, numberSetting } from './snapshot.ts'

type Judge = Pick<Context, 'db' | 'cluster' | 'wake'>

/** What is to be done by what was observed. */
export function decideLosses(
  { cluster }: Pick<Judge, 'cluster'>,
  observations: readonly Observation[],
): LossDecision {
  const { snapshot } = cluster
  const seen = new Map(observations.map(one => [one.devid, one]))
  const watched = cluster.devices().map(device => ({
    device,
    awaySeconds: seen.get(device.devid)?.awaySeconds ?? undefined,
  }))
  return judgeLosses(watched, {
    lostAfter: numberSetting(snapshot, 'lost_after'),
    maxShare: numberSetting(snapshot, 'max_lost_share'),
    maintenance: inMaintenance(snapshot),
  })
}

/**
 * Acts on what was observed: files of lost devices are queued for replication; those of devices that
 * are back are looked at once these have stayed for `trim_after`, and not when they go again before.
 */
export async function applyLosses(ctx: Judge, log: Logger): Promise<void> {
  if (!isAtWork(decideLosses(ctx, await listObservations(ctx.db)))) return
  // What is decided on must be what is stored: another tracker may have acted just now.
  await ctx.cluster.refresh()
  const { lost, back } = await ctx.db.transaction(async tx => {
    await lockUpkeep(tx)
    const { lose, recover } = decideLosses(ctx, await listObservations(tx))
    const seconds = numberSetting(ctx.cluster.snapshot, 'trim_after')
    const changes = { lost: await setLost(tx, lose, true), back: await setLost(tx, recover, false) }
    if (changes.back.length > 0) {
      await cancelReviews(tx, changes.back)
      // Also of files elsewhere: with fewer hosts, fewer were enough.
      await requestReview(tx, 'all', seconds)
    }
    if (changes.lost.length > 0) {
      await cancelReviews(tx, changes.lost)
      await requestReview(tx, { devids: changes.lost })
    }
    return changes
  })
  if (lost.length > 0) log.warn({ devids: lost }, 'devices are treated as lost')
  if (back.length > 0) log.info({ devids: back }, 'devices are back')
  await ctx.cluster.refresh()
  if (lost.length > 0) ctx.wake('review')
}

const isAtWork = ({ lose, recover }: LossDecision): boolean => lose.length > 0 || recover.length > 0
