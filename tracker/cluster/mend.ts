/**
 * Looks at every replica of one file and sets right what is wrong: MogileFS's fix of a fid
 * (`lib/MogileFS/Worker/Fsck.pm`), also for what scrubbing finds. The row is changed only while it
 * names the replicas that were looked at; when it does not any more, all is looked at anew.
 */
import type { Logger } from '../../common/log.ts'
import { isReadable } from '../policy/device.ts'
import { judgeDigests, type DigestAlgorithm } from '../policy/fsck.ts'
import { weightedOrder } from '../policy/placement.ts'
import { forgetDamage, listContents, noteDamage, type StoredContent } from '../store/checks.ts'
import { insertFindings, type FsckEvent, type FsckFinding } from '../store/fsck.ts'
import { correctReplicas, queueReplications, type Correction } from '../store/replicas.ts'
import type { Context } from './context.ts'
import { cannotRead, isLost, seeDigest, seeSize } from './inspect.ts'
import { judgeReplicas } from './judge.ts'

export type MendContext = Pick<Context, 'db' | 'cluster' | 'storage' | 'urls' | 'random' | 'wake'>

/** Which digest to take of every replica. */
export interface Reading {
  readonly algorithm: DigestAlgorithm
  /** The digest that the file should have: the stored checksum, or the SHA-256. */
  readonly against: 'checksum' | 'sha256'
  /** A digest that is not stored yet is to be. */
  readonly wanted: boolean
  /** It was asked for by name, whatever the class has. */
  readonly named: boolean
}

/** That of scrubbing: by SHA-256, which is kept of every file once it is known. */
export const scrubReading: Reading = {
  algorithm: 'sha256',
  against: 'sha256',
  wanted: true,
  named: true,
}

export interface MendOptions {
  /** What was found already. */
  readonly findings: readonly FsckEvent[]
  /** Absent: the sizes alone are looked at. */
  readonly reading?: Reading | undefined
  /** What cannot be mended is logged only when it was not known before; each bad replica is named. */
  readonly scrubbing?: boolean
  readonly signal: AbortSignal
  readonly log: Logger
}

export type Mended =
  | { readonly kind: 'done'; readonly events: readonly FsckEvent[]; readonly bytes: number }
  /** A device that has to be asked does not answer. */
  | { readonly kind: 'stalled'; readonly why: string }

/** Tries before a file whose replicas change all the time is left for later. */
const tries = 5

/** Mends `fid`. Findings are logged in the transaction that acts on them. */
export async function mendFile(
  ctx: MendContext,
  fid: number,
  options: MendOptions,
): Promise<Mended> {
  for (let n = 0; n < tries; n++) {
    const [file] = await listContents(ctx.db, [fid])
    if (!file) return { kind: 'done', events: [], bytes: 0 }
    const diagnosis = await diagnose(ctx, file, options)
    if (diagnosis.kind === 'stalled') return diagnosis
    if (await treat(ctx, file, diagnosis, options)) {
      const events = diagnosis.findings.map(({ event }) => event)
      return { kind: 'done', events, bytes: diagnosis.bytes }
    }
  }
  return { kind: 'stalled', why: 'its replicas keep changing' }
}

type Finding = Pick<FsckFinding, 'event' | 'devid'>

interface Diagnosis {
  readonly kind: 'diagnosis'
  readonly findings: readonly Finding[]
  readonly change: Correction
  /** Replicas with other bytes than the file's, and one that is good. */
  readonly wrong: readonly number[]
  readonly good: number | undefined
  /** Why the file cannot be mended. */
  readonly damage: string | undefined
  /** How much was read. */
  readonly bytes: number
}

interface Stalled {
  readonly kind: 'stalled'
  readonly why: string
}

/** What one look at all replicas came to. */
interface Look {
  readonly findings: Finding[]
  readonly good: number[]
  /** There, and not the file. */
  readonly wrong: number[]
  readonly digests: Map<number, string>
}

async function diagnose(
  ctx: MendContext,
  file: StoredContent,
  options: MendOptions,
): Promise<Diagnosis | Stalled> {
  const look: Look = {
    findings: options.findings.map(event => ({ event })),
    good: [],
    wrong: [],
    digests: new Map(),
  }
  const waitFor = (devid: number): Stalled => stall(ctx, devid, cannotRead(devid).why, options.log)
  const away = file.devids.filter(devid => isAway(ctx, devid))
  // The row keeps what is on devices that are treated as lost, which may never come back.
  const kept = away.filter(devid => isLost(ctx, devid))
  const awaited = away.find(devid => !kept.includes(devid))
  // Nothing is read of a file that has to wait.
  if (awaited !== undefined) return waitFor(awaited)
  for (const devid of file.devids.filter(one => !kept.includes(one))) {
    const stalled = await lookAt(ctx, file, devid, look, options)
    if (stalled) return stalled
  }
  const [hope] = kept
  if (look.good.length === 0) {
    const stalled = hope === undefined ? await search(ctx, file, look, options) : waitFor(hope)
    if (stalled) return stalled
  }
  const judged = judgeDigestsOf(file, look, options)
  if (judged.damage !== undefined && hope !== undefined) return waitFor(hope)
  const good = look.good.filter(devid => !judged.bad.includes(devid))
  const devids = [...good, ...kept]
  const wrong = [...look.wrong, ...judged.bad]
  const gone = look.good.length === 0
  if (gone) look.findings.push({ event: 'GONE' })
  // What scrubbing did not find is replication's own affair.
  const isNews = !options.scrubbing || !sameMembers(file.devids, devids)
  const unlike = judgeReplicas(ctx, { ...file, devids }).kind !== 'satisfied'
  if (!gone && isNews && unlike) look.findings.push({ event: 'REPL' })
  return {
    kind: 'diagnosis',
    findings: look.findings,
    change: { before: file.devids, devids, checksum: judged.checksum, sha256: judged.sha256 },
    wrong,
    good: judged.damage === undefined ? good[0] : undefined,
    damage: gone ? 'no copy of it is left on any device' : judged.damage,
    bytes: look.digests.size * file.size,
  }
}

/** It cannot be asked now. One that is not known here may have been made by another tracker just now. */
function isAway({ cluster }: MendContext, devid: number): boolean {
  const device = cluster.device(devid)
  return device?.status !== 'dead' && !(device && isReadable(device))
}

/** Sorts one replica in. */
async function lookAt(
  ctx: MendContext,
  { fid, size }: StoredContent,
  devid: number,
  { findings, good, wrong, digests }: Look,
  { reading, signal, log }: MendOptions,
): Promise<Stalled | undefined> {
  if (ctx.cluster.device(devid)?.status === 'dead') return undefined
  const seen = await seeSize(ctx, { fid, devid }, signal)
  if (seen.kind === 'unreachable') return stall(ctx, devid, seen.why, log)
  if (seen.kind === 'missing') {
    findings.push({ event: 'MISS', devid })
    return undefined
  }
  if (seen.size !== size) {
    findings.push({ event: 'BLEN', devid })
    wrong.push(devid)
    return undefined
  }
  if (reading) {
    const read = await seeDigest(ctx, { fid, devid }, reading.algorithm, signal)
    switch (read.kind) {
      case 'unreachable':
        return stall(ctx, devid, read.why, log)
      case 'missing':
        findings.push({ event: 'MISS', devid })
        return undefined
      case 'unreadable':
        // Its disk says so; there is nothing that could be taken from there.
        log.warn({ fid, devid, reason: read.why }, 'a replica cannot be read')
        findings.push({ event: 'MISS', devid })
        return undefined
      case 'digest':
        digests.set(devid, read.hex)
    }
  }
  good.push(devid)
  return undefined
}

/**
 * Looks for a file without a good replica on every device that was not looked at; not on those that are
 * lost: when they come back, a sweep finds what nobody knows of.
 */
async function search(
  ctx: MendContext,
  file: StoredContent,
  look: Look,
  options: MendOptions,
): Promise<Stalled | undefined> {
  const { fid, size, devids } = file
  const { signal, log } = options
  look.findings.push({ event: 'SRCH' })
  const devices = ctx.cluster
    .devices()
    .filter(
      ({ devid, status }) => status !== 'dead' && !devids.includes(devid) && !isLost(ctx, devid),
    )
  for (const { devid } of weightedOrder(devices, () => 1, ctx.random)) {
    const seen = await seeSize(ctx, { fid, devid }, signal)
    if (seen.kind === 'unreachable') return stall(ctx, devid, seen.why, log)
    if (seen.kind !== 'there' || seen.size !== size) continue
    look.findings.push({ event: 'FOND' })
    // Its digest is taken like that of any other.
    return lookAt(ctx, file, devid, look, options)
  }
  return undefined
}

interface JudgedDigests {
  readonly bad: readonly number[]
  readonly checksum?: Correction['checksum']
  readonly sha256?: Buffer
  readonly damage?: string
}

const hashtypes = { md5: 1, sha1: 2 } as const
const algorithms: Readonly<Record<number, DigestAlgorithm>> = { 1: 'md5', 2: 'sha1' }

function judgeDigestsOf(
  file: StoredContent,
  { digests, findings }: Look,
  { reading, scrubbing }: MendOptions,
): JudgedDigests {
  if (!reading) return { bad: [] }
  const { algorithm, wanted, named } = reading
  const stored = storedDigest(file, reading)
  const verdict = judgeDigests({ found: digests, algorithm, stored, wanted, named })
  switch (verdict.kind) {
    case 'fine':
      return { bad: [] }
    case 'store': {
      const digest = Buffer.from(verdict.hex, 'hex')
      if (algorithm === 'sha256') return { bad: [], sha256: digest }
      findings.push({ event: 'NSUM' })
      return { bad: [], checksum: { hashtype: hashtypes[algorithm], digest } }
    }
    case 'bad':
      // MogileFS's fsck says nothing here; the replication that follows from it is what it logs.
      if (scrubbing) {
        findings.push(...verdict.devids.map(devid => ({ event: 'BSUM' as const, devid })))
      }
      return { bad: verdict.devids }
    case 'otherAlgorithm':
      findings.push({ event: 'BALG' })
      return { bad: [] }
    case 'doubt':
      findings.push({ event: verdict.event })
      return {
        bad: [],
        damage: stored
          ? 'no replica has the checksum that is stored'
          : 'its replicas differ, and no checksum is stored',
      }
  }
}

function storedDigest(file: StoredContent, { against }: Reading) {
  if (against === 'sha256') {
    return file.sha256
      ? { algorithm: 'sha256' as const, hex: file.sha256.toString('hex') }
      : undefined
  }
  const algorithm = algorithms[file.hashtype ?? 0]
  return file.checksum && algorithm ? { algorithm, hex: file.checksum.toString('hex') } : undefined
}

/** Writes a diagnosis down and does what follows from it. False when the row has changed meanwhile. */
async function treat(
  ctx: MendContext,
  file: StoredContent,
  diagnosis: Diagnosis,
  options: MendOptions,
): Promise<boolean> {
  const { findings, change, damage, wrong, good } = diagnosis
  const { fid, slot } = file
  const events = new Set(findings.map(({ event }) => event))
  const nothing =
    events.size === 0 && sameMembers(change.before, change.devids) && !change.sha256 && !damage
  if (nothing) {
    await forgetDamage(ctx.db, [fid])
    return true
  }
  const applied = await ctx.db.transaction(async tx => {
    if (!(await correctReplicas(tx, { fid, slot }, change))) return false
    if (events.has('REPL')) await queueReplications(tx, [{ fid, slot }], 1)
    const isNews = damage === undefined || (await noteDamage(tx, { fid, slot }, damage))
    if (damage === undefined) await forgetDamage(tx, [fid])
    if (isNews || !options.scrubbing) {
      await insertFindings(
        tx,
        findings.map(finding => ({ fid, slot, ...finding })),
      )
    }
    return true
  })
  if (!applied) return false
  if (damage !== undefined) options.log.error({ fid, reason: damage }, 'a file cannot be mended')
  if (good !== undefined && wrong.length > 0) {
    await setAside(ctx, file, { good, wrong }, options)
  }
  return true
}

const sameMembers = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every(devid => b.includes(devid))

/**
 * Has nodes take replicas away from where they could be read or stand in the way of a new copy. Each
 * makes sure by itself that the bytes are wrong. Where that is not possible they stay; no row names
 * them any more.
 */
async function setAside(
  ctx: MendContext,
  file: StoredContent,
  { good, wrong }: { readonly good: number; readonly wrong: readonly number[] },
  { signal, log }: MendOptions,
): Promise<void> {
  const { fid } = file
  const sha256 = file.sha256?.toString('hex') ?? (await sha256Of(ctx, { fid, devid: good }, signal))
  if (sha256 === undefined) return
  for (const devid of wrong) {
    const url = ctx.urls.replica({ fid, devid }, { method: 'DELETE', seconds: 3600 })
    try {
      const done = url && (await ctx.storage.setAside(url, sha256, { signal }))
      log.warn({ fid, devid, aside: done === true }, 'a replica has wrong bytes')
    } catch (err) {
      signal.throwIfAborted()
      log.warn({ err, fid, devid }, 'a replica with wrong bytes could not be set aside')
    }
  }
}

async function sha256Of(
  ctx: MendContext,
  replica: { readonly fid: number; readonly devid: number },
  signal: AbortSignal,
): Promise<string | undefined> {
  const seen = await seeDigest(ctx, replica, 'sha256', signal)
  return seen.kind === 'digest' ? seen.hex : undefined
}

function stall(ctx: MendContext, devid: number, why: string, log: Logger): Stalled {
  const device = ctx.cluster.device(devid)
  const ip = device && ctx.cluster.snapshot.hosts.get(device.host.id)?.ip
  // Operators look for these words.
  log.warn(`Connectivity problem reaching device ${devid} on host ${ip}`)
  return { kind: 'stalled', why }
}
