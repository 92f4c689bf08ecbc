/** Gives files the replicas that their class asks for. */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { CopyError, copyReplica, readableSources } from '../cluster/copy.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { judge, parsePolicy, type Verdict } from '../policy/replication.ts'
import { retrySeconds } from '../policy/retry.ts'
import { addReplica, findFileByFid, type FileRow } from '../store/files.ts'
import {
  claimReplications,
  deferReplication,
  insertDeletion,
  removeReplication,
  type ReplicateJob,
} from '../store/jobs.ts'
import { createJobWorker, type Worker } from './loop.ts'

export function createReplicateWorker(ctx: Context): Worker {
  return createJobWorker({
    name: 'replicate',
    batch: 64,
    concurrency: 8,
    claim: limit => claimReplications(ctx.db, limit),
    handle: (job, signal, log) => handle(ctx, job, { signal, log }),
  })
}

interface Work {
  readonly signal: AbortSignal
  readonly log: Logger
}

async function handle(ctx: Context, job: ReplicateJob, { signal, log }: Work): Promise<void> {
  let file: FileRow | undefined = await findFileByFid(ctx.db, job.fid)
  const avoid = new Set<number>()
  const badSources = new Set<number>()
  while (file) {
    signal.throwIfAborted()
    const verdict = judgeFile(ctx, file, avoid)
    if (verdict.kind !== 'copy') return conclude(ctx, job, verdict, avoid)
    const [to] = verdict.to
    const sources = readableSources(ctx, file.devids).filter(({ devid }) => !badSources.has(devid))
    const [from] = sources
    if (!to || !from) return retry(ctx, job, 'no replica can be read now')
    const { fid, size } = file
    try {
      const startedAt = performance.now()
      const ends = { from: from.devid, to: to.devid, signal }
      const sha256 = await copyReplica(ctx, contentOf(file), ends)
      const ms = Math.round(performance.now() - startedAt)
      log.info({ fid, devid: to.devid, size, ms }, 'replicated')
      file = await record(ctx, file, { devid: to.devid, sha256 })
    } catch (err) {
      if (!(err instanceof CopyError)) throw err
      log.warn({ err, fid, devid: err.devid }, 'copy failed')
      if (err.end === 'source') badSources.add(err.devid)
      else avoid.add(err.devid)
    }
  }
  // Deleted or replaced meanwhile.
  await removeReplication(ctx.db, job)
}

const contentOf = ({ fid, size, sha256 }: FileRow) => ({
  fid,
  size,
  sha256: sha256?.toString('hex'),
})

function judgeFile(ctx: Context, file: FileRow, avoid: ReadonlySet<number>): Verdict {
  const { snapshot } = ctx.cluster
  const classes = snapshot.domainsById.get(file.domainId)?.classes
  const row = classes?.get(file.classId) ?? classes?.get(0)
  const policy = parsePolicy(row?.replpolicy ?? null)
  if (!policy) return { kind: 'stuck', why: `unknown policy ${row?.replpolicy}` }
  return judge(policy, {
    devices: ctx.cluster.devices(),
    devids: file.devids,
    mindevcount: row?.mindevcount ?? 2,
    size: file.size,
    reserve: numberSetting(snapshot, 'min_free_space_mb') * 1024 * 1024,
    avoid,
    random: ctx.random,
  })
}

/** Puts the new replica into the file's row; when there is no row any more, has the copy deleted. */
async function record(
  ctx: Context,
  { fid, slot }: FileRow,
  { devid, sha256 }: { devid: number; sha256: string | undefined },
): Promise<FileRow | undefined> {
  const replica = { devid, sha256: sha256 ? Buffer.from(sha256, 'hex') : null }
  const updated = await addReplica(ctx.db, { fid, slot }, replica)
  if (updated) return updated
  // A rename files it under another slot.
  const moved = await findFileByFid(ctx.db, fid)
  const again = moved && (await addReplica(ctx.db, moved, replica))
  if (!again) await insertDeletion(ctx.db, { fid, slot }, { devids: [devid], seconds: 0 })
  return again
}

function conclude(
  ctx: Context,
  job: ReplicateJob,
  verdict: Exclude<Verdict, { kind: 'copy' }>,
  avoid: ReadonlySet<number>,
): Promise<void> {
  switch (verdict.kind) {
    case 'satisfied':
    // One copy too many is no danger; it is not this worker's to take away.
    case 'excess':
      return removeReplication(ctx.db, job)
    case 'stuck': {
      const failed = avoid.size > 0 ? ` (failed just now: ${[...avoid].join(', ')})` : ''
      return retry(ctx, job, verdict.why + failed)
    }
  }
}

function retry(ctx: Context, job: ReplicateJob, error: string): Promise<void> {
  const seconds = retrySeconds(job.attempts, ctx.random)
  return deferReplication(ctx.db, job, { seconds, error })
}
