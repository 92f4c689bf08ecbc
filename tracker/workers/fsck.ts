/**
 * Checks files one after the other as MogileFS does (`lib/MogileFS/Worker/Fsck.pm`): their number of
 * replicas, then sizes, then digests where the class or the setting `fsck_checksum` asks for them.
 */
import type { Logger } from '../../common/log.ts'
import type { Context } from '../cluster/context.ts'
import { isLost, suspectSizes } from '../cluster/inspect.ts'
import { judgeReplicas } from '../cluster/judge.ts'
import { mendFile, scrubReading, type Reading } from '../cluster/mend.ts'
import {
  claimChecks,
  extendChecks,
  leaseSeconds,
  listContents,
  removeChecks,
  stallCheck,
  stallSeconds,
  type CheckJob,
  type StoredContent,
} from '../store/checks.ts'
import type { Hashtype } from '../store/domains.ts'
import type { FileId } from '../store/files.ts'
import type { FsckEvent } from '../store/fsck.ts'
import { readUpkeep } from '../store/upkeep.ts'
import { inLanes, whileClaimed, type Worker } from './loop.ts'

/** Files screened together, and files mended at once. */
const batch = 4_000
const concurrency = 8

interface Work {
  readonly signal: AbortSignal
  readonly log: Logger
}

/** A file that is not plainly in order, and what is known to be wrong already. */
interface Suspect extends CheckJob {
  readonly file: StoredContent
  readonly findings: readonly FsckEvent[]
}

export function createFsckWorker(ctx: Context): Worker {
  let queued = 0
  return {
    name: 'fsck',
    restMs: 1_000,
    get queued() {
      return queued
    },
    async pass(signal, log) {
      const jobs = await claimChecks(ctx.db, batch)
      if (jobs.length === 0) return 0
      queued += jobs.length
      let open = jobs.length
      let held: Set<FileId> = new Set(jobs)
      const check = async (): Promise<void> => {
        const suspects = await ctx.politely(() => screen(ctx, jobs, signal))
        const suspected = new Set(suspects.map(({ fid }) => fid))
        await removeChecks(
          ctx.db,
          jobs.filter(({ fid }) => !suspected.has(fid)),
        )
        queued -= open - suspects.length
        open = suspects.length
        held = new Set(suspects)
        await inLanes(suspects, concurrency, async suspect => {
          queued--
          open--
          await mend(ctx, suspect, { signal, log })
          held.delete(suspect)
        })
      }
      try {
        // Those of what is still to be done.
        const extend = (): Promise<void> => extendChecks(ctx.db, [...held])
        await whileClaimed(check, { leaseSeconds, extend, log })
      } finally {
        queued -= open
      }
      return jobs.length
    },
  }
}

/** Those of the jobs whose files need a closer look. */
async function screen(
  ctx: Context,
  jobs: readonly CheckJob[],
  signal: AbortSignal,
): Promise<Suspect[]> {
  const files = await listContents(
    ctx.db,
    jobs.map(({ fid }) => fid),
  )
  const jobOf = new Map(jobs.map(job => [job.fid, job]))
  // Not from memory: a run that was reset just now may be of the other kind.
  const policyOnly = (await readUpkeep(ctx.db)).number('fsck_opt_policy_only') === 1
  const suspects: Suspect[] = []
  const plain: { job: CheckJob; file: StoredContent }[] = []
  for (const file of files.sort((a, b) => a.fid - b.fid)) {
    const job = jobOf.get(file.fid)
    if (!job) continue
    const findings = findingsOf(ctx, file)
    if (findings.length > 0 || job.read || lacksChecksum(ctx, file))
      suspects.push({ ...job, file, findings })
    else if (!policyOnly || job.whole) plain.push({ job, file })
  }
  const bad = new Set<number>()
  const byDevice = new Map<number, StoredContent[]>()
  for (const { file } of plain) {
    if (reads(ctx, file)) bad.add(file.fid)
    for (const devid of file.devids) {
      if (isLost(ctx, devid)) continue
      const list = byDevice.get(devid)
      if (list) list.push(file)
      else byDevice.set(devid, [file])
    }
  }
  await Promise.all(
    [...byDevice].map(async ([devid, expected]) => {
      const asked = expected.filter(({ fid }) => !bad.has(fid))
      for (const fid of await suspectSizes(ctx, devid, asked, signal)) bad.add(fid)
    }),
  )
  for (const { job, file } of plain) {
    if (bad.has(file.fid)) suspects.push({ ...job, file, findings: [] })
  }
  return suspects
}

function findingsOf(ctx: Context, file: StoredContent): FsckEvent[] {
  if (file.devids.length === 0) return ['NOPA']
  return judgeReplicas(ctx, file, { countDead: true }).kind === 'satisfied' ? [] : ['POVI']
}

const hashtypeOf = ({ cluster }: Context, { domainId, classId }: StoredContent): Hashtype => {
  const classes = cluster.snapshot.domainsById.get(domainId)?.classes
  return (classes?.get(classId) ?? classes?.get(0))?.hashtype ?? 'NONE'
}

/** What `fsck_checksum` says. */
const checksumSetting = ({ cluster }: Context): string =>
  cluster.snapshot.settings.get('fsck_checksum') ?? 'class'

const lacksChecksum = (ctx: Context, file: StoredContent): boolean =>
  !file.checksum && reads(ctx, file) && hashtypeOf(ctx, file) !== 'NONE'

const reads = (ctx: Context, file: StoredContent): boolean => readingOf(ctx, file) !== undefined

const algorithms = { MD5: 'md5', 'SHA-1': 'sha1' } as const

function readingOf(ctx: Context, file: StoredContent): Reading | undefined {
  const setting = checksumSetting(ctx)
  const own = hashtypeOf(ctx, file)
  const named = setting === 'MD5' || setting === 'SHA-1'
  const hashtype = named ? setting : setting === 'off' ? 'NONE' : own
  if (hashtype === 'NONE') return undefined
  const algorithm = algorithms[hashtype]
  return { algorithm, against: 'checksum', wanted: own === hashtype, named }
}

async function mend(ctx: Context, suspect: Suspect, work: Work): Promise<void> {
  const { fid, file, findings, read: scrubbing } = suspect
  try {
    const reading = scrubbing ? scrubReading : readingOf(ctx, file)
    const mended = await mendFile(ctx, fid, { findings, reading, scrubbing, ...work })
    if (mended.kind === 'stalled') {
      const seconds = ctx.cluster.patience(stallSeconds)
      return await stallCheck(ctx.db, suspect, { seconds, error: mended.why })
    }
    await removeChecks(ctx.db, [suspect])
    if (mended.events.includes('REPL')) ctx.wake('replicate')
  } catch (err) {
    if (!work.signal.aborted) work.log.error({ err, fid }, 'check failed')
  }
}
