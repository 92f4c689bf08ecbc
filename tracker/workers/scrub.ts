/**
 * Reads every replica again and again, so that rot is found while another copy is still good. A round
 * takes the time that `scrub_days` gives it: a file is due when as much of that has gone by as there
 * are numbers of files before its own. Whatever is read counts against `scrub_mb_per_second`.
 */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { isLost } from '../cluster/inspect.ts'
import { mendFile, scrubReading } from '../cluster/mend.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { listContentsAfter, queueWholeChecks, type StoredContent } from '../store/checks.ts'
import {
  advanceScrub,
  claimScrub,
  extendScrub,
  finishScrub,
  type ScrubStep,
} from '../store/scrub.ts'
import { whileClaimed, type Worker } from './loop.ts'

/** Files of one step at most, and their bytes; files read at once. */
const batch = 64
const stepBytes = 4 * 1024 ** 3
const concurrency = 4

/** Seconds after which another tracker goes on when the one that reads is gone. */
const leaseSeconds = 120

/** Most seconds until the next look at the settings. */
const longestRest = 60

/** Seconds between two rounds at least. */
const betweenRounds = 1

/** Share of the time that a round takes: what is left is for delays. */
const haste = 0.9

/** Bytes that could have been read while a disk looks for one file. */
const seekBytes = 64 * 1024

export function createScrubWorker(ctx: Context): Worker {
  return {
    name: 'scrub',
    restMs: 1_000,
    async pass(signal, log) {
      const step = await claimScrub(ctx.db, leaseSeconds)
      if (!step) return 0
      return read(ctx, step, { signal, log })
    },
  }
}

interface Work {
  readonly signal: AbortSignal
  readonly log: Logger
}

async function read(ctx: Context, step: ScrubStep, work: Work): Promise<number> {
  const files = await listContentsAfter(ctx.db, step, {
    after: step.position,
    end: step.endFid,
    limit: batch,
  })
  const [next] = files
  if (!next) {
    await finishScrub(ctx.db, step.id, betweenRounds)
    return 0
  }
  const due = shareOf(files.filter(({ fid }) => secondsUntilDue(ctx, step, fid) <= 0))
  if (due.length === 0) {
    const rest = Math.min(secondsUntilDue(ctx, step, next.fid), longestRest)
    await advanceScrub(ctx.db, step.id, { ...nothing, position: step.position, rest })
    return 0
  }
  const startedAt = performance.now()
  const read = await whileClaimed(() => readAll(ctx, due, work), {
    leaseSeconds,
    extend: () => extendScrub(ctx.db, step.id, leaseSeconds),
    log: work.log,
  })
  const rate = Math.max(1, numberSetting(ctx.cluster.snapshot, 'scrub_mb_per_second')) * 1024 * 1024
  const cost = (read.bytes + read.replicas * seekBytes) / rate
  const rest = Math.max(0, cost - (performance.now() - startedAt) / 1000)
  const position = due.at(-1)?.fid ?? step.position
  await advanceScrub(ctx.db, step.id, { ...read, position, files: due.length, rest })
  return due.length
}

/** As many as are soon read, one at least. */
function shareOf(files: readonly StoredContent[]): readonly StoredContent[] {
  let bytes = 0
  const end = files.findIndex(({ size, devids }) => (bytes += size * devids.length) > stepBytes)
  return end < 0 ? files : files.slice(0, Math.max(end, 1))
}

const nothing = { files: 0, replicas: 0, bytes: 0, bad: 0 }

function secondsUntilDue(ctx: Context, step: ScrubStep, fid: number): number {
  if (!step.continuous) return 0
  const round = numberSetting(ctx.cluster.snapshot, 'scrub_days') * 86400 * haste
  return (round * fid) / Math.max(step.maxFid, 1) - step.seconds
}

async function readAll(
  ctx: Context,
  files: readonly StoredContent[],
  work: Work,
): Promise<typeof nothing> {
  const total = { ...nothing }
  const unread: StoredContent[] = []
  const queue = files.values()
  const lane = async (): Promise<void> => {
    for (const file of queue) {
      work.signal.throwIfAborted()
      const mended = await mendFile(ctx, file.fid, {
        findings: [],
        reading: scrubReading,
        scrubbing: true,
        ...work,
      })
      if (mended.kind === 'stalled') {
        unread.push(file)
        continue
      }
      total.bytes += mended.bytes
      total.replicas += file.devids.filter(devid => !isLost(ctx, devid)).length
      total.bad += mended.events.filter(event => bad.has(event)).length
      if (mended.events.includes('REPL')) ctx.wake('replicate')
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, files.length) }, lane))
  // They are read when their devices answer again, not a round later.
  await queueWholeChecks(ctx.db, unread, { read: true })
  return total
}

const bad: ReadonlySet<string> = new Set(['MISS', 'BLEN', 'BSUM', 'MSUM'])
