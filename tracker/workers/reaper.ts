/**
 * Empties devices that are marked dead: what the files lost there is queued for replication, and the
 * rows forget the device (`lib/MogileFS/Worker/Reaper.pm`).
 */
import { randomUUID } from 'node:crypto'
import type { Context } from '../cluster/context.ts'
import { numberSetting, queueLimits } from '../cluster/snapshot.ts'
import { takeLease } from '../store/leases.ts'
import { countReplications, forgetDevice } from '../store/replicas.ts'
import type { Worker } from './loop.ts'

/** Milliseconds between two looks. */
const restMs = 5_000
/** Milliseconds between looks at a device on which nothing was left; twice as long each time. */
const firstIdleMs = 60_000
const longestIdleMs = 7_200_000
/** Seconds that one tracker keeps the job. */
const leaseSeconds = 20

interface Watched {
  dueAt: number
  idleMs: number
}

export function createReaper(ctx: Context): Worker {
  const lease = { name: 'reaper', holder: randomUUID() }
  const watched = new Map<number, Watched>()

  return {
    name: 'reaper',
    restMs,
    async pass(signal, log) {
      const now = performance.now()
      const dead = ctx.cluster.devices().filter(({ status }) => status === 'dead')
      for (const devid of watched.keys()) {
        if (!dead.some(device => device.devid === devid)) watched.delete(devid)
      }
      // Other trackers may take a while to hear of it, and choose it for a copy until then.
      const delayMs = numberSetting(ctx.cluster.snapshot, 'reaper_delay_seconds') * 1000
      for (const { devid } of dead) {
        if (!watched.has(devid)) watched.set(devid, { dueAt: now + delayMs, idleMs: firstIdleMs })
      }
      const due = [...watched].filter(([, { dueAt }]) => dueAt <= now)
      if (due.length === 0 || !(await takeLease(ctx.db, lease, leaseSeconds))) return 0
      for (const [devid, watch] of due) {
        signal.throwIfAborted()
        const { rate, size } = queueLimits(ctx.cluster.snapshot, 'reaper')
        const waiting = Number.isFinite(size) ? await countReplications(ctx.db, size) : 0
        const limit = Math.min(rate, size - waiting)
        if (limit <= 0) continue
        const count = await forgetDevice(ctx.db, { devid, limit })
        if (count > 0) {
          log.info({ devid, count }, 'files of a dead device queued for replication')
          ctx.wake('replicate')
          watch.idleMs = firstIdleMs
        } else {
          watch.dueAt = performance.now() + watch.idleMs
          watch.idleMs = Math.min(watch.idleMs * 2, longestIdleMs)
        }
      }
      return 0
    },
  }
}
