/** What goes on in the cluster. */
import { formatAddress } from '../../common/address.ts'
import type { Context } from '../cluster/context.ts'
import { decideLosses } from '../cluster/losses.ts'
import { countFiles } from '../store/files.ts'
import { queueDepths, type QueueDepth } from '../store/jobs.ts'
import { listObservations } from '../store/observations.ts'
import { reviewProgress, type ReviewProgress } from '../store/reviews.ts'
import { countStandbys, type Standbys } from '../store/standbys.ts'
import { countOpenUploads } from '../store/uploads.ts'

export interface Status {
  /** Exact for few, an estimate for many. */
  readonly files: number
  readonly openUploads: number
  readonly queues: { readonly replicate: QueueDepth; readonly delete: QueueDepth }
  readonly healing: Healing
  /** Whether hosts' nodes flush before they say that they stored something, by the host's id. */
  readonly flushes: ReadonlyMap<number, boolean>
  readonly standbys: Standbys
}

/** Milliseconds that a node has to tell of itself. */
const answerMs = 2_000

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

/** Files, open uploads, queues, healing, what hosts say of themselves, and the database's standbys. */
export async function clusterStatus(ctx: Context): Promise<Status> {
  const { db } = ctx
  const [files, openUploads, queues, healing, flushes, standbys] = await Promise.all([
    countFiles(db),
    countOpenUploads(db),
    queueDepths(db),
    healingStatus(ctx),
    askFlushes(ctx),
    countStandbys(db),
  ])
  return { files, openUploads, queues, healing, flushes, standbys }
}

/** Asks the nodes that are there; those that do not tell are left out. */
async function askFlushes({ cluster, storage }: Context): Promise<ReadonlyMap<number, boolean>> {
  const flushes = new Map<number, boolean>()
  await Promise.all(
    [...cluster.snapshot.hosts.values()].map(async ({ id, ip, port }) => {
      if (cluster.hostObservation(id) !== 'reachable') return
      const url = `http://${formatAddress({ host: ip, port })}/`
      const signal = AbortSignal.timeout(answerMs)
      const told = await storage.flushes(url, { signal }).catch(() => undefined)
      if (told !== undefined) flushes.set(id, told)
    }),
  )
  return flushes
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
