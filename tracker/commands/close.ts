/**
 * Open and close an upload as the line protocol does it: no receipts, so the tracker asks the node
 * for what was stored; a close that fails takes the upload with it and queues its bytes for deletion.
 */
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { copyReplica, readableSources } from '../cluster/copy.ts'
import { judgeReplicas } from '../cluster/judge.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import type { Device } from '../policy/device.ts'
import { spreadOverHosts } from '../policy/placement.ts'
import type { Caller } from '../store/audit.ts'
import { fileKey } from '../store/files.ts'
import { abandonUpload, type OpenUpload } from '../store/uploads.ts'
import { getClassOf, getDomain, getFileClass } from './lookup.ts'
import { chooseDevices, expectUploads, removeDoubtful } from './uploads.ts'

/** Longest key, in bytes, that a file can be given over the line protocol. */
export const maxWireKey = 255

/** Milliseconds a node has to tell a file's length: Perl clients wait three seconds for us. */
const lengthMs = 2_000

/** How many destinations create_open names at most. */
const maxDestinations = 3

export interface CreateOpenArgs {
  readonly domain: string
  readonly key: Buffer
  readonly class: string
  /** A number chosen by the client; 0: ours. */
  readonly fid: number
  readonly multiple: boolean
  readonly size: number
}

/** Throws no_domain, unreg_domain, unreg_class, no_devices, fid_in_use or db (key too long). */
export async function createOpen(
  ctx: Context,
  args: CreateOpenArgs,
): Promise<{ fid: number; devices: Device[] }> {
  const domain = await getDomain(ctx, args.domain)
  const classRow = await getFileClass(ctx, { domain, name: args.class }, 'unreg_class')
  const ordered = ctx.hooks && (await ctx.hooks.orderForWrite(ctx.cluster.devices()))
  const candidates = ordered ? spreadOverHosts(ordered) : chooseDevices(ctx, args.size)
  const devices = candidates.slice(0, args.multiple ? maxDestinations : 1)
  if (devices.length === 0) throw new CodedError('no_devices', 'no device takes new files now')
  if (args.key.length > maxWireKey) throw new CodedError('db', 'the key is too long')
  const fid = args.fid === 0 ? await ctx.fids.next() : args.fid
  if (args.fid !== 0 && !(isFid(fid) && (await ctx.fids.claim(fid)))) {
    throw new CodedError('fid_in_use', 'that fid is or was in use')
  }
  const { slot } = fileKey(domain.id, args.key)
  // Without a spread: objects that begin as copies of others cost a tenth of all of this.
  const expiresAt = await ctx.names.insertUpload({
    fid,
    slot,
    domainId: domain.id,
    key: args.key,
    classId: classRow.id,
    size: null,
    devids: devices.map(device => device.devid),
    durability: 'fast',
    contentType: null,
    metadata: null,
    seconds: numberSetting(ctx.cluster.snapshot, 'upload_seconds'),
  })
  if (!expiresAt) throw new CodedError('unreg_domain', 'the domain has just been removed')
  expectUploads(ctx, devices.slice(0, 1), args.size)
  return { fid, devices }
}

const isFid = (fid: number): boolean => Number.isSafeInteger(fid) && fid > 0

/** A digest that the client named. `digest` is the raw bytes. */
export interface Checksum {
  readonly algorithm: 'MD5' | 'SHA-1'
  readonly digest: Buffer
}

const digestBytes = { MD5: 16, 'SHA-1': 20 } as const
const hashNames = { MD5: 'md5', 'SHA-1': 'sha1' } as const
const hashtypes = { MD5: 1, 'SHA-1': 2 } as const

/** Reads `MD5:<hex>` or `SHA-1:<hex>`. Throws invalid_checksum_format. */
export function parseChecksum(text: string): Checksum {
  const match = /^(MD5|SHA-1):([0-9a-fA-F]+)$/.exec(text)
  const algorithm = match?.[1] as Checksum['algorithm'] | undefined
  const hex = match?.[2] ?? ''
  if (!algorithm || hex.length !== digestBytes[algorithm] * 2) {
    throw new CodedError('invalid_checksum_format', 'a checksum is MD5:<hex> or SHA-1:<hex>')
  }
  return { algorithm, digest: Buffer.from(hex, 'hex') }
}

export interface CreateCloseArgs {
  readonly domain: string
  readonly key: Buffer
  readonly fid: number
  readonly devid: number
  /** As create_open gave it out; a signature behind it does not matter. */
  readonly path: string
  readonly alternative: boolean
  /** Bytes that were sent; undefined: not told. */
  readonly size: number | undefined
  readonly checksum: Checksum | undefined
  readonly verifyChecksum: boolean
}

/**
 * Closes an upload; the file is there when this resolves. An empty key gives the upload up.
 * Throws bogus_args, no_temp_file, and after those always with the bytes queued for deletion:
 * invalid_destdev, size_verify_error, size_mismatch, checksum_mismatch.
 */
export async function createClose(
  ctx: Context,
  args: CreateCloseArgs,
  caller: Caller,
): Promise<void> {
  const domain = await getDomain(ctx, args.domain)
  const { fid, devid } = args
  await checkPath(ctx, args, caller)
  const upload = await ctx.names.findOpenUpload(fid)
  if (!upload || upload.expired) throw notOpen()
  const graceSeconds = numberSetting(ctx.cluster.snapshot, 'delete_grace_seconds')
  const offered = upload.devids.includes(devid)
  const giveUp = async (): Promise<void> => {
    // The bytes are where the client says that it has written them.
    const elsewhere = offered ? [] : [devid]
    if (!(await abandonUpload(ctx.db, upload, graceSeconds, elsewhere))) throw notOpen()
    ctx.wake('delete')
  }
  try {
    if (!offered) {
      throw new CodedError(
        'invalid_destdev',
        `File uploaded to invalid dest ${devid}. Valid devices were: ${upload.devids.join(',')}`,
      )
    }
    if (args.key.length === 0) return await giveUp()
    if (args.key.length > maxWireKey) throw new CodedError('db', 'the key is too long')
    const size = await verifySize(ctx, args)
    if (args.checksum && args.verifyChecksum) await verifyChecksum(ctx, args, args.checksum)
    const doubtful: number[] = []
    const devids = await acknowledgedCopies(ctx, upload, { devid, size, doubtful })
    // The domain is that of the close, where the class of the open may be another one.
    const { classId } = upload
    const domainId = domain.id
    const { hashtype } = getClassOf(ctx, { domainId, classId })
    const replicate = judgeReplicas(ctx, { domainId, classId, size, devids }).kind !== 'satisfied'
    const file = fileKey(domain.id, args.key)
    const committed = await ctx.names.commitUpload({
      upload,
      file,
      answer: { size, devids, copies: devids.length },
      checksum:
        args.checksum?.algorithm === hashtype
          ? { hashtype: hashtypes[args.checksum.algorithm], digest: args.checksum.digest }
          : null,
      replicate,
      repeatable: false,
      graceSeconds,
      caller,
    })
    if (!committed) throw notOpen()
    await removeDoubtful(ctx, { fid, slot: file.slot }, doubtful)
    if (replicate) ctx.wake('replicate')
  } catch (err) {
    if (
      err instanceof CodedError &&
      err.code !== 'no_temp_file' &&
      err.code !== 'database_unavailable'
    ) {
      await giveUp()
    }
    throw err
  }
}

/** Throws bogus_args unless the path is the one that is given out for the device. */
async function checkPath(ctx: Context, args: CreateCloseArgs, caller: Caller): Promise<void> {
  const { fid, devid, alternative } = args
  const [given] = ctx.open ? [args.path] : args.path.split('?', 1)
  const isGivenOut = (): boolean =>
    isFid(fid) &&
    given === ctx.urls.plain({ devid, fid }, { method: 'PUT', alternative, reader: caller.address })
  if (isGivenOut()) return
  // Another tracker may have given it out, and know of a device or an address that is new.
  await ctx.cluster.refreshAfterMiss()
  if (!isGivenOut()) {
    throw new CodedError('bogus_args', 'the path is not the one that was given out')
  }
}

const notOpen = (): CodedError => new CodedError('no_temp_file', 'the upload is not open')

/** Where the client has just written: what serves reads may not know of it yet. */
function readUrl(ctx: Context, { devid, fid }: { devid: number; fid: number }): string {
  const options = { method: 'GET', seconds: 3600, whereWritten: true } as const
  const url = ctx.urls.replica({ devid, fid }, options)
  if (!url) throw new CodedError('bogus_args', `no device ${devid}`)
  return url
}

async function verifySize(ctx: Context, args: CreateCloseArgs): Promise<number> {
  let problem = { type: 'missing', error: '404' }
  const found = await ctx.storage
    .head(readUrl(ctx, args), { withinMs: lengthMs })
    .catch((err: unknown) => {
      problem = { type: 'cantreach', error: err instanceof Error ? err.message : String(err) }
      return undefined
    })
  const path = args.path.split('?', 1)[0]
  if (!found) {
    throw new CodedError(
      'size_verify_error',
      `Expected: ${args.size ?? -1}; actual: 0 (${problem.type}); path: ${path}; error: ${problem.error}`,
    )
  }
  if (args.size !== undefined && args.size !== found.size) {
    throw new CodedError(
      'size_mismatch',
      `Expected: ${args.size}; actual: ${found.size}; path: ${path}`,
    )
  }
  return found.size
}

async function verifyChecksum(
  ctx: Context,
  args: CreateCloseArgs,
  { algorithm, digest }: Checksum,
): Promise<void> {
  const hash = createHash(hashNames[algorithm])
  const found = await ctx.storage
    .get(readUrl(ctx, args))
    .then(({ body }) => pipeline(body, hash))
    .then(() => hash.digest())
    .catch((err: unknown) => {
      ctx.log.warn({ err, fid: args.fid, devid: args.devid }, 'stored bytes could not be read')
      return undefined
    })
  if (found?.equals(digest)) return
  const path = args.path.split('?', 1)[0]
  throw new CodedError(
    'checksum_mismatch',
    `Expected: Checksum[f=${args.fid};${algorithm}=${digest.toString('hex')}]; actual: ${algorithm}:${found?.toString('hex') ?? 'unreadable'}; path: ${path}`,
  )
}

/**
 * Makes the copies that the class wants before OK, on offered devices; fewer when none is left. Adds
 * to `doubtful` where a copy that failed may be.
 */
async function acknowledgedCopies(
  ctx: Context,
  upload: OpenUpload,
  { devid, size, doubtful }: { devid: number; size: number; doubtful: number[] },
): Promise<number[]> {
  const devids = [devid]
  const wanted = ctx.cluster.snapshot.domainsById.get(upload.domainId)?.classes.get(upload.classId)
  const left = upload.devids.filter(other => other !== devid)
  while (devids.length < (wanted?.ackCopies ?? 1)) {
    const to = left.shift()
    const [from] = readableSources(ctx, devids)
    if (to === undefined || !from) break
    const content = { fid: upload.fid, size, sha256: undefined }
    // Another close of this upload may have made it, and rely on it.
    const leftOver = async (): Promise<void> => void doubtful.push(to)
    try {
      await copyReplica(ctx, content, { from: from.devid, to, leftOver })
      devids.push(to)
    } catch (err) {
      ctx.log.warn({ err, fid: upload.fid, devid: to }, 'copy before close failed')
    }
  }
  return devids
}
