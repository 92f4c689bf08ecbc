/**
 * Compares what lies on each device with what the database says, by the lists of our own storage
 * nodes; others are asked file by file, and their bytes without an owner stay unseen. What is missing
 * or of another size goes to fsck. Bytes that nobody owns are removed when they are old enough and
 * were found in the round before as well.
 */
import type { Logger } from '../../common/log.ts'
import { isCoded } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { inventoryUrl, seeSize, suspectSizes } from '../cluster/inspect.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { listContentsAfter, queueWholeChecks, type StoredContent } from '../store/checks.ts'
import { insertDeletion } from '../store/jobs.ts'
import { databaseSeconds } from '../store/observations.ts'
import {
  addSweeps,
  advanceSweep,
  claimSweep,
  extendSweep,
  finishSweep,
  listUnclaimed,
  type SweepStep,
  type Unclaimed,
} from '../store/sweep.ts'
import { whileClaimed, type Worker } from './loop.ts'

/** Files of one step: of the list, and at most of the database, which may name many that are missing. */
const batch = 2_000
const mostExpected = 10 * batch
/** Seconds after which another tracker goes on when the one that compares is gone. */
const leaseSeconds = 120
/** Seconds between two steps of a device, and until one that is away is looked for again. */
const stepSeconds = 1
const awaySeconds = 300
/** Above this many bytes without owner, and this share of all, a person is to look first. */
const fewOrphans = 1_000
const shareOfOrphans = 0.1
/** Below, the paths of files are in the order of their numbers. */
const orderedFids = 1e10

interface Work {
  readonly signal: AbortSignal
  readonly log: Logger
}

export function createSweepWorker(ctx: Context): Worker {
  return {
    name: 'sweep',
    restMs: 2_000,
    async pass(signal, log) {
      const seconds = numberSetting(ctx.cluster.snapshot, 'sweep_hours') * 3600
      await addSweeps(ctx.db, seconds)
      const step = await claimSweep(ctx.db, leaseSeconds)
      if (!step) return 0
      const { devid, position } = step
      const compared = await whileClaimed(() => lookAt(ctx, step, { signal, log }), {
        leaseSeconds,
        extend: () => extendSweep(ctx.db, devid, leaseSeconds),
        log,
      })
      if (compared === 'away') {
        const rest = Math.min(awaySeconds, Math.max(seconds, stepSeconds))
        await advanceSweep(ctx.db, { devid, position }, { ...nothing, rest })
        return 0
      }
      await advanceSweep(ctx.db, { devid, position: compared.position }, compared)
      if (compared.ended) await finishSweep(ctx.db, devid, Math.max(seconds, stepSeconds))
      return 1
    },
  }
}

const nothing = { files: 0, wrong: 0, extra: 0, removed: 0, rest: stepSeconds }

interface Compared {
  readonly position: number
  readonly files: number
  readonly wrong: number
  readonly extra: number
  readonly removed: number
  readonly rest: number
  /** That was the last of the device. */
  readonly ended: boolean
}

interface StoredFile {
  readonly fid: number
  readonly size: number
  /** Unix seconds. */
  readonly mtime: number
}

interface Listed {
  readonly files: readonly StoredFile[]
  readonly ended: boolean
}

async function lookAt(ctx: Context, step: SweepStep, work: Work): Promise<Compared | 'away'> {
  const listed = await list(ctx, step, work.signal)
  if (listed === 'away') return 'away'
  return listed === 'unlisted'
    ? askForEach(ctx, step, work.signal)
    : compare(ctx, step, listed, work)
}

/** The next files on the device. */
async function list(
  ctx: Context,
  { devid, position }: SweepStep,
  signal: AbortSignal,
): Promise<Listed | 'away' | 'unlisted'> {
  const url = inventoryUrl(ctx, devid)
  if (url === undefined) return 'away'
  const files: StoredFile[] = []
  try {
    const after = position > 0 ? position : undefined
    for await (const file of ctx.storage.inventory(url, { after, signal })) {
      files.push(file)
      // A step ends at a file whose place in the list is that of its number.
      if (files.length >= batch && file.fid < orderedFids) return { files, ended: false }
    }
    return { files, ended: true }
  } catch (err) {
    signal.throwIfAborted()
    return isCoded(err, 'not_implemented') ? 'unlisted' : 'away'
  }
}

async function compare(
  ctx: Context,
  step: SweepStep,
  listed: Listed,
  work: Work,
): Promise<Compared> {
  const { devid, position } = step
  const expected = await listContentsAfter(ctx.db, onDevice(devid), {
    after: position,
    end: listed.ended ? orderedFids - 1 : (listed.files.at(-1)?.fid ?? position),
    limit: mostExpected,
  })
  // Where that is not all, the next step goes on behind it.
  const cut = expected.length === mostExpected ? expected.at(-1)?.fid : undefined
  const files = cut === undefined ? listed.files : listed.files.filter(({ fid }) => fid <= cut)
  const last = cut ?? files.at(-1)?.fid ?? position
  const sizes = new Map(files.map(({ fid, size }) => [fid, size]))
  const wrong = expected.filter(({ fid, size }) => sizes.get(fid) !== size)
  await queueWholeChecks(ctx.db, wrong)
  const known = new Set(expected.map(({ fid }) => fid))
  const strange = files.filter(({ fid }) => !known.has(fid))
  const unclaimed = await listUnclaimed(
    ctx.db,
    devid,
    strange.map(({ fid }) => fid),
  )
  const removed = await removeOrphans(ctx, step, { strange, unclaimed }, work)
  return {
    position: last,
    files: files.length,
    wrong: wrong.length,
    extra: unclaimed.length,
    removed,
    rest: stepSeconds,
    ended: listed.ended && cut === undefined,
  }
}

const onDevice = (devid: number) => ({ domainId: null, classId: null, devid })

/** Queues bytes that nobody owns for deletion; returns how many. */
async function removeOrphans(
  ctx: Context,
  { devid, last }: SweepStep,
  {
    strange,
    unclaimed,
  }: { readonly strange: readonly StoredFile[]; readonly unclaimed: readonly Unclaimed[] },
  { signal, log }: Work,
): Promise<number> {
  if (!last || unclaimed.length === 0) return 0
  if (last.extra > Math.max(fewOrphans, last.files * shareOfOrphans)) {
    // A database restored from an old copy looks like this, and so does another cluster's disk.
    log.error({ devid, count: last.extra }, 'too much that nobody owns: nothing is removed')
    return 0
  }
  // By a clock that is wrong, bytes of a copy that is about to be noted may look old.
  if (ctx.cluster.device(devid)?.clockSkewed) return 0
  const oldest =
    (await databaseSeconds(ctx.db)) - numberSetting(ctx.cluster.snapshot, 'orphan_hours') * 3600
  const times = new Map(strange.map(({ fid, mtime }) => [fid, mtime]))
  let removed = 0
  for (const { fid, owner } of unclaimed) {
    if ((times.get(fid) ?? Number.POSITIVE_INFINITY) > oldest) continue
    if (owner && !(await isElsewhere(ctx, { fid, ...owner }, signal))) {
      await queueWholeChecks(ctx.db, [{ fid, slot: owner.slot }])
      continue
    }
    await insertDeletion(ctx.db, { fid, slot: owner?.slot ?? 0 }, { devids: [devid], seconds: 0 })
    removed++
  }
  if (removed > 0) {
    log.info({ devid, count: removed }, 'bytes that nobody owns are removed')
    ctx.wake('delete')
  }
  return removed
}

/** True when one of the replicas that a file's row names is there. */
async function isElsewhere(
  ctx: Context,
  { fid, size, devids }: { fid: number; size: number; devids: readonly number[] },
  signal: AbortSignal,
): Promise<boolean> {
  for (const devid of devids) {
    const seen = await seeSize(ctx, { fid, devid }, signal)
    if (seen.kind === 'there' && seen.size === size) return true
  }
  return false
}

/** For nodes that have no list. */
async function askForEach(
  ctx: Context,
  { devid, position }: SweepStep,
  signal: AbortSignal,
): Promise<Compared> {
  const expected: StoredContent[] = await listContentsAfter(ctx.db, onDevice(devid), {
    after: position,
    end: null,
    limit: batch,
  })
  const suspects = new Set(await suspectSizes(ctx, devid, expected, signal))
  await queueWholeChecks(
    ctx.db,
    expected.filter(({ fid }) => suspects.has(fid)),
  )
  return {
    ...nothing,
    position: expected.at(-1)?.fid ?? position,
    files: expected.length,
    wrong: suspects.size,
    ended: expected.length < batch,
  }
}
