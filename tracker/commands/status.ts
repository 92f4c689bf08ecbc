/** What goes on in the cluster. */
import type { Context } from '../cluster/context.ts'
import { decideLosses } from '../cluster/losses.ts'
import { countFiles } from '../store/files.ts'
import { queueDepths, type QueueDepth } from '../store/jobs.ts'
import { listObservations } from '../store/observations.ts'
import { reviewProgress, type ReviewProgress } from '../store/reviews.ts'
import { countOpenUploads } from '../store/uploads.ts'

export interface Status {
  /** Exact for few, an estimate for many. */
  readonly files: number
  readonly openUploads: number
  readonly queues: { readonly replicate: QueueDepth; readonly delete: QueueDepth }
  readonly healing: Healing
}

/** How far making up for lost devices and other changes is. */
export interface Healing {
  /** Devices that are treated as lost, and since when. */
  readonly lost: readonly { readonly devid: number; readonly since: Date }[]
  /** Devices that are away for as long without being treated so, and why. */
  readonly waiting: { readonly devids: readonly number[]; readonly why: string } | undefined
  /** Files that still have to be looked at or copied. */
  readonly files: number
  /** Until that is done, as fast as it went so far; undefined: nobody knows yet. */
  readonly secondsToSafe: number | undefined
}

/** Files, open uploads, queues and healing. */
export async function clusterStatus(ctx: Context): Promise<Status> {
  const { db } = ctx
  const [files, openUploads, queues, healing] = await Promise.all([
    countFiles(db),
    countOpenUploads(db),
    queueDepths(db),
    healingStatus(ctx),
  ])
  return { files, openUploads, queues, healing }
}

async function healingStatus({ db, cluster }: Context): Promise<Healing> {
  const [observations, progress] = await Promise.all([listObservations(db), reviewProgress(db)])
  const { waiting, why } = decideLosses({ cluster }, observations)
  return {
    lost: [...cluster.snapshot.devices.values()].flatMap(({ devid, lostAt }) =>
      lostAt ? [{ devid, since: lostAt }] : [],
    ),
    waiting: why === undefined ? undefined : { devids: waiting, why },
    files: progress.waiting + progress.expected,
    secondsToSafe: secondsLeft(progress),
  }
}

function secondsLeft(progress: ReviewProgress): number | undefined {
  const { waiting, queued, expected, pending, seconds } = progress
  const left = waiting + expected
  if (left === 0) return pending === 0 ? 0 : undefined
  const done = queued - waiting
  return done > 0 ? Math.ceil((left * seconds) / done) : undefined
}
