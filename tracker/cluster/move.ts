/**
 * Takes a replica away from a device: MogileFS's rebalance step. The policy does not see the replica
 * that is to leave; it goes once the others satisfy it without, and one of them was seen to be good.
 */
import type { Logger } from '../../common/log.ts'
import type { Verdict } from '../policy/verdict.ts'
import { findFileByFid, type FileRow } from '../store/files.ts'
import { insertDeletion, lateSeconds } from '../store/jobs.ts'
import { recordMoved, type MoveJob } from '../store/rebalance.ts'
import { dropReplica, findLeaving } from '../store/replicas.ts'
import type { Context } from './context.ts'
import { CopyError, placeReplica, readableSources, type Content } from './copy.ts'
import { isClearing, judgeReplicas } from './judge.ts'
import { verifyReplica, verifySource, type Known } from './verify.ts'

/**
 * `gone`: there is no such replica any more. `kept`: none of the devices named for it is as good a
 * place as the one where it is. `clearing`: bytes of an earlier try are to be removed first.
 */
export type Moved =
  | { readonly kind: 'moved' | 'gone' }
  | { readonly kind: 'kept' | 'failed' | 'clearing'; readonly why: string }

/**
 * Moves one replica, under the claim of its job. Throws only what is no fault of a device, an outage of
 * the database for one.
 */
export async function moveReplica(
  ctx: Context,
  job: MoveJob,
  { signal, log }: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<Moved> {
  const { fid, devid: from } = job
  const to = job.devids.length > 0 ? new Set(job.devids) : undefined
  const leaving = await findLeaving(ctx.db, fid)
  const outside = to ? ctx.cluster.devices().filter(({ devid }) => !to.has(devid)) : []
  const avoid = new Set([from, ...leaving, ...outside.map(({ devid }) => devid)])
  const badSources = new Set<number>()
  let copied: number | undefined
  let file = await findFileByFid(ctx.db, fid)
  while (file?.devids.includes(from)) {
    signal.throwIfAborted()
    const others = file.devids.filter(devid => devid !== from)
    const verdict = judgeReplicas(ctx, { ...file, devids: others }, { avoid })
    if (verdict.kind === 'stuck') {
      const clearing = isClearing(ctx, { ...file, devids: others }, { avoid, leaving })
      return { kind: clearing ? 'clearing' : 'failed', why: verdict.why }
    }
    if (verdict.kind !== 'copy') {
      const left = await leave(ctx, file, { from, others, copied }, signal)
      if (left !== 'changed') return left
      file = await findFileByFid(ctx.db, fid)
      continue
    }
    const [target] = verdict.to
    const [source] = readableSources(ctx, file.devids).filter(({ devid }) => !badSources.has(devid))
    if (!target || !source) return { kind: 'failed', why: 'no replica can be read now' }
    if (wouldWorsen(ctx, file, { from, others, verdict })) {
      const why = 'what is left to choose from is no better place'
      return { kind: to ? 'kept' : 'failed', why }
    }
    const place = file
    try {
      const leftOver = (): Promise<void> =>
        insertDeletion(ctx.db, place, { devids: [target.devid], seconds: lateSeconds })
      const ends = { from: source.devid, to: target.devid, signal, leftOver }
      const { sha256 } = await placeReplica(ctx, contentOf(file), ends)
      const { slot } = place
      const digest = sha256 ? Buffer.from(sha256, 'hex') : null
      const replica = { slot, devid: target.devid, sha256: digest }
      if (!(await recordMoved(ctx.db, job, replica))) {
        // Gone meanwhile, filed under another slot, or somebody else's: the next try will see.
        await leftOver()
        return { kind: 'failed', why: 'the file has changed meanwhile' }
      }
      copied = target.devid
      file = await findFileByFid(ctx.db, fid)
    } catch (err) {
      if (!(err instanceof CopyError)) throw err
      log.warn({ err, fid, devid: err.devid }, 'copy failed')
      if (err.end === 'source') {
        badSources.add(err.devid)
        await verifySource(ctx, { ...job, ...place }, err, signal)
      } else avoid.add(err.devid)
    }
  }
  return { kind: 'gone' }
}

const contentOf = ({ fid, size, sha256, hashtype, checksum }: FileRow): Content => ({
  fid,
  size,
  sha256: sha256?.toString('hex'),
  ...(checksum && {
    checksum: { algorithm: hashtype === 2 ? 'sha1' : 'md5', hex: checksum.toString('hex') },
  }),
})

/** True when the replicas would lie on fewer hosts afterwards. */
function wouldWorsen(
  { cluster }: Pick<Context, 'cluster'>,
  { devids }: Pick<FileRow, 'devids'>,
  {
    from,
    others,
    verdict,
  }: { from: number; others: readonly number[]; verdict: Extract<Verdict, { kind: 'copy' }> },
): boolean {
  if (verdict.ideal) return false
  const hostsOf = (list: readonly number[]): number =>
    new Set(list.map(devid => cluster.device(devid)?.host.id)).size
  const target = verdict.to[0]?.devid ?? from
  return hostsOf([...others, target]) < hostsOf(devids)
}

const withoutDigest = (file: Known): Known => ({ ...file, sha256: null, checksum: null })

/** Drops the replica on `from` once another one was seen to be whole. */
async function leave(
  ctx: Context,
  file: FileRow,
  { from, others, copied }: { from: number; others: readonly number[]; copied: number | undefined },
  signal: AbortSignal,
): Promise<Moved | 'changed'> {
  const { devids } = file
  const candidates = copied !== undefined && others.includes(copied) ? [copied] : others
  for (const devid of candidates) {
    // What was copied just now was compared then; of the others no byte was looked at.
    const seen = await verifyReplica(
      ctx,
      devid === copied ? withoutDigest(file) : file,
      devid,
      signal,
    )
    if (seen.kind !== 'good') continue
    // Not while the others are not those that are enough: replication may have taken one away.
    const drop = { devid: from, verified: devid, before: devids }
    if (!(await dropReplica(ctx.db, file, drop))) return 'changed'
    ctx.wake('delete')
    return { kind: 'moved' }
  }
  return { kind: 'failed', why: 'no other replica can be seen to be whole now' }
}
