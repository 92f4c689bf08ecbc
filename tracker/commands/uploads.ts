/** Open, commit and abandon an upload, as the HTTP API does it: with receipts of the nodes. */
import { CodedError } from '../../common/errors.ts'
import { checkKey } from '../../common/keys.ts'
import type { CommitUpload, Durability, Metadata } from '../../common/protocol/files.ts'
import { checkReceipt, parseReceipt } from '../../common/signing.ts'
import type { Context } from '../cluster/context.ts'
import { copyReplica, readableSources } from '../cluster/copy.ts'
import { judgeReplicas } from '../cluster/judge.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import type { Device } from '../policy/device.ts'
import { copiesFor, reachableTarget } from '../policy/durability.ts'
import { placeNewFile } from '../policy/placement.ts'
import type { Caller } from '../store/audit.ts'
import { fileKey, type FileId } from '../store/files.ts'
import type { HostRow } from '../store/hosts.ts'
import { insertDeletion, lateSeconds } from '../store/jobs.ts'
import { abandonUpload as abandonRow, type UploadRow } from '../store/uploads.ts'
import { getClassOf, getDomain, getFileClass } from './lookup.ts'
import { checkMetadata } from './metadata.ts'

/** Devices beyond the copies wanted that a client may turn to when one fails. */
const spares = 3

/** Milliseconds that a node has to say what it is; it is remembered for a minute. */
const askMs = 1_000

export interface OpenArgs {
  readonly domain: string
  readonly key: Buffer
  readonly class: string
  readonly size?: number
  readonly contentType?: string
  readonly metadata?: Metadata
  readonly durability: Durability
}

export interface Opened extends FileId {
  /** How many targets to write at once. */
  readonly copies: number
  readonly targets: { readonly device: Device; readonly url: string }[]
  readonly expiresAt: Date
}

/** Bytes a second at which a large file may come: so much longer its upload stays open. */
const slowestBytes = 1024 * 1024

/**
 * Opens an upload: picks devices, notes them, and signs where to PUT. Throws unreg_domain, no_key,
 * key_too_long, unreg_class, bad_metadata, or no_devices when the durability cannot be reached now.
 */
export async function openUpload(ctx: Context, args: OpenArgs): Promise<Opened> {
  const domain = await getDomain(ctx, args.domain)
  checkKey(args.key)
  const classRow = await getFileClass(ctx, { domain, name: args.class }, 'unreg_class')
  checkMetadata(args)
  const all = ctx.cluster.devices()
  const target = reachableTarget(all, copiesFor(args.durability, classRow.mindevcount))
  const devices = chooseDevices(ctx, args.size ?? 0).slice(0, target.copies + spares)
  const hosts = new Set(devices.map(device => device.host.id)).size
  if (devices.length < target.copies || hosts < target.hosts) {
    throw new CodedError(
      'no_devices',
      devices.length === 0
        ? 'no device takes new files now'
        : `${args.durability} needs ${target.copies} devices on ${target.hosts} hosts; now there are ${devices.length} on ${hosts}`,
    )
  }
  const { slot } = fileKey(domain.id, args.key)
  const fid = await ctx.fids.next()
  const seconds =
    numberSetting(ctx.cluster.snapshot, 'upload_seconds') +
    Math.ceil((args.size ?? 0) / slowestBytes)
  // Without a spread, as in what else every request comes by: see docs/performance.md.
  const expiresAt = await ctx.names.insertUpload({
    fid,
    slot,
    domainId: domain.id,
    key: args.key,
    classId: classRow.id,
    size: args.size ?? null,
    devids: devices.map(device => device.devid),
    durability: args.durability,
    contentType: args.contentType ?? null,
    metadata: args.metadata ?? null,
    seconds,
  })
  if (!expiresAt) throw new CodedError('unreg_domain', 'the domain has just been removed')
  expectUploads(ctx, devices.slice(0, target.copies), args.size)
  const signal = ctx.open ? AbortSignal.timeout(askMs) : undefined
  const [found] = await Promise.all([
    Promise.all(devices.map(device => findTarget(ctx, { device, fid, seconds, signal }))),
    ctx.directories.forReplica(
      fid,
      devices.map(({ devid }) => devid),
    ),
  ])
  const targets = found.filter(each => each !== undefined)
  return { fid, slot, copies: target.copies, targets, expiresAt }
}

interface TargetOptions {
  readonly device: Device
  readonly fid: number
  readonly seconds: number
  /** Ends the question what the node is; absent: it is one of ours. */
  readonly signal: AbortSignal | undefined
}

/**
 * Where a client is to PUT. Where nodes are open, some may be MogileFS's own, and Perlbal takes a
 * signature for a part of the file's name: what does not answer as a node of ours gets none.
 */
async function findTarget(
  { urls, storage }: Context,
  { device, fid, seconds, signal }: TargetOptions,
): Promise<Opened['targets'][number] | undefined> {
  const replica = { devid: device.devid, fid }
  const url = urls.replica(replica, { method: 'PUT', seconds })
  if (url === undefined) return undefined
  if (!signal) return { device, url }
  const can = await storage.capabilities(url, { signal }).catch(() => undefined)
  const plain = can?.size === 0 ? urls.plain(replica, { method: 'PUT' }) : undefined
  return { device, url: plain ?? url }
}

/** The devices that a new file of `size` bytes may go to, best first, spread over hosts. */
export function chooseDevices(ctx: Context, size: number): Device[] {
  const reserve = numberSetting(ctx.cluster.snapshot, 'min_free_space_mb') * 1024 * 1024
  return placeNewFile(ctx.cluster.devices(), { size, reserve }, ctx.random)
}

/** Has devices count a file that is about to be written there, until they next tell how full they are. */
export function expectUploads(
  { cluster }: Pick<Context, 'cluster'>,
  devices: readonly Device[],
  size = 0,
): void {
  for (const { devid } of devices) cluster.expect(devid, size)()
}

export type CommitArgs = CommitUpload & { readonly domain: string; readonly upload: FileId }

/** A copy that a node vouches for. */
interface Verified {
  readonly devid: number
  readonly size: number
  readonly sha256: string | undefined
}

/**
 * Makes an upload the content of its key. Asked again, it answers the same. A refused commit leaves
 * the upload open. Throws no_upload, bad_receipt, size_mismatch, checksum_mismatch,
 * size_verify_error or not_enough_copies.
 */
export async function commitUpload(
  ctx: Context,
  args: CommitArgs,
  caller: Caller,
): Promise<UploadRow> {
  const upload = await getUpload(ctx, args)
  if (upload.answer) return upload
  if (upload.expired) throw noUpload()
  const copies = await Promise.all(args.copies.map(copy => verifyCopy(ctx, upload, copy)))
  const content = agreedContent(upload, args, copies)
  const classRow = getClassOf(ctx, upload)
  const wanted = copiesFor(upload.durability, classRow.mindevcount)
  const target = reachableTarget(ctx.cluster.devices(), wanted)
  const devids = new Set(copies.map(copy => copy.devid))
  const doubtful: number[] = []
  if (args.makeCopies) await makeCopies(ctx, { upload, ...content, devids, target, doubtful })
  if (devids.size < target.copies || countHosts(ctx, devids) < target.hosts) {
    throw new CodedError(
      'not_enough_copies',
      `${upload.durability} needs ${target.copies} copies on ${target.hosts} hosts; there are ${devids.size} on ${countHosts(ctx, devids)}`,
    )
  }
  const { domainId, classId } = upload
  const { size, sha256 } = content
  const held = [...devids]
  const replicate =
    judgeReplicas(ctx, { domainId, classId, size, devids: held }).kind !== 'satisfied'
  const answer = {
    size,
    ...(sha256 ? { sha256 } : {}),
    devids: held,
    copies: held.length,
    ...(target.reduced ? { reduced: target.reduced } : {}),
  }
  const committedAt = await ctx.names.commitUpload({
    upload,
    file: fileKey(upload.domainId, upload.key),
    answer,
    checksum: null,
    replicate,
    repeatable: true,
    graceSeconds: numberSetting(ctx.cluster.snapshot, 'delete_grace_seconds'),
    caller,
  })
  if (committedAt) {
    await removeDoubtful(ctx, upload, doubtful)
    if (replicate) ctx.wake('replicate')
    return { ...upload, committedAt, answer }
  }
  // Somebody else has committed it, and the row holds the answer; or it ran out in between.
  const closed = await getUpload(ctx, args)
  if (!closed.answer) throw noUpload()
  await removeDoubtful(ctx, upload, doubtful)
  return closed
}

/**
 * Gives an upload up and has its bytes deleted soon: whoever does that has ended its PUTs.
 * Throws no_upload.
 */
export async function abandonUpload(
  ctx: Context,
  args: { readonly domain: string; readonly upload: FileId },
): Promise<void> {
  const upload = await getUpload(ctx, args)
  const graceSeconds = numberSetting(ctx.cluster.snapshot, 'delete_grace_seconds')
  if (!(await abandonRow(ctx.db, upload, graceSeconds))) throw noUpload()
}

async function getUpload(
  ctx: Context,
  { domain, upload }: { readonly domain: string; readonly upload: FileId },
): Promise<UploadRow> {
  const { id } = await getDomain(ctx, domain)
  const row = await ctx.names.findUpload(upload)
  if (row?.domainId !== id) throw noUpload()
  return row
}

const noUpload = (): CodedError =>
  new CodedError('no_upload', 'no such upload, or it is not open any more')

async function verifyCopy(
  ctx: Context,
  { fid, devids }: UploadRow,
  { devid, receipt }: CommitUpload['copies'][number],
): Promise<Verified> {
  const refused = (): CodedError =>
    new CodedError('bad_receipt', `no valid receipt of device ${devid}`)
  if (!devids.includes(devid)) throw refused()
  const host = await findHostOf(ctx, devid)
  if (!host) throw refused()
  if (receipt !== undefined) {
    const told = parseReceipt(receipt)
    if (told?.fid !== fid || told.devid !== devid) throw refused()
    if (!checkReceipt(ctx.urls.keysOf(host), receipt)) throw refused()
    return { devid, size: told.size, sha256: told.sha256 }
  }
  // A foreign node gives no receipts: its word is the file's length.
  const url = ctx.urls.replica({ devid, fid }, { method: 'GET', seconds: 60 })
  const found = url === undefined ? undefined : await ctx.storage.head(url)
  if (!found) throw new CodedError('size_verify_error', `device ${devid} has no such file`)
  return { devid, size: found.size, sha256: undefined }
}

/** Another tracker may have offered a device that this one has not heard of yet. */
async function findHostOf({ cluster }: Context, devid: number): Promise<HostRow | undefined> {
  if (!cluster.snapshot.devices.has(devid)) await cluster.refreshAfterMiss()
  const { devices, hosts } = cluster.snapshot
  return hosts.get(devices.get(devid)?.hostId ?? 0)
}

function agreedContent(
  upload: UploadRow,
  args: CommitUpload,
  copies: readonly Verified[],
): { size: number; sha256: string | undefined } {
  const [first] = copies
  if (!first) throw new CodedError('not_enough_copies', 'no copy was named')
  for (const { devid, size } of copies) {
    const expected = args.size ?? upload.size ?? first.size
    if (size !== expected || size !== (upload.size ?? size)) {
      throw new CodedError('size_mismatch', `device ${devid} has ${size} bytes, not ${expected}`)
    }
  }
  // A foreign node does not tell; nothing is known against its copy.
  const sha256 = args.sha256 ?? copies.find(copy => copy.sha256 !== undefined)?.sha256
  for (const copy of copies) {
    if (copy.sha256 !== undefined && copy.sha256 !== sha256) {
      throw new CodedError('checksum_mismatch', `device ${copy.devid} has other bytes`)
    }
  }
  return { size: first.size, sha256 }
}

function countHosts(ctx: Context, devids: ReadonlySet<number>): number {
  const hosts = [...devids].map(devid => ctx.cluster.snapshot.devices.get(devid)?.hostId)
  return new Set(hosts).size
}

/**
 * Has what failed copies of a committed upload may have left on these devices deleted, unless by then
 * the file has a replica there. Never rejects.
 */
export async function removeDoubtful(
  ctx: Context,
  file: FileId,
  devids: readonly number[],
): Promise<void> {
  if (devids.length === 0) return
  await insertDeletion(ctx.db, file, { devids, seconds: lateSeconds }).catch((err: unknown) =>
    ctx.log.warn({ err, fid: file.fid }, 'what a failed copy may have left was not queued'),
  )
}

/**
 * Adds to `devids` the devices that got a copy, until the target is reached or none is left, and to
 * `doubtful` those where a copy that failed may be. Only offered devices are used: should the commit
 * not come about, the upload's end cleans them up.
 */
async function makeCopies(
  ctx: Context,
  {
    upload,
    size,
    sha256,
    devids,
    target,
    doubtful,
  }: {
    upload: UploadRow
    size: number
    sha256: string | undefined
    devids: Set<number>
    target: { copies: number; hosts: number }
    doubtful: number[]
  },
): Promise<void> {
  const tried = new Set(devids)
  const { fid } = upload
  while (devids.size < target.copies || countHosts(ctx, devids) < target.hosts) {
    const left = chooseDevices(ctx, size).filter(
      ({ devid }) => upload.devids.includes(devid) && !tried.has(devid),
    )
    const usedHosts = new Set([...devids].map(devid => ctx.cluster.device(devid)?.host.id))
    const to = left.find(device => !usedHosts.has(device.host.id)) ?? left[0]
    const [from] = readableSources(ctx, [...devids])
    if (!to || !from) return
    tried.add(to.devid)
    // Another commit of this upload may have made it, and rely on it.
    const leftOver = async (): Promise<void> => void doubtful.push(to.devid)
    try {
      const ends = { from: from.devid, to: to.devid, leftOver }
      await copyReplica(ctx, { fid, size, sha256 }, ends)
      devids.add(to.devid)
    } catch (err) {
      ctx.log.warn({ err, fid, devid: to.devid }, 'copy before commit failed')
    }
  }
}
