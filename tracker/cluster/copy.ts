/**
 * Makes one more replica of a content, verified: the destination's node fetches it from the source's,
 * or, where it cannot, the bytes come through here.
 */
import { createHash, type Hash } from 'node:crypto'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CodedError, isCoded } from '../../common/errors.ts'
import { parseReceipt } from '../../common/signing.ts'
import { isReadable, type Device } from '../policy/device.ts'
import { orderForRead } from '../policy/placement.ts'
import type { Context } from './context.ts'
import { isSilence } from './inspect.ts'

export interface Content {
  readonly fid: number
  readonly size: number
  /** Lower-case hex; undefined when not known. */
  readonly sha256: string | undefined
  /** Digest by the class's algorithm, where one is stored. */
  readonly checksum?: Checksum | undefined
  /** Algorithm of a digest that is to be found out. */
  readonly wanted?: ChecksumAlgorithm | undefined
}

export type ChecksumAlgorithm = 'md5' | 'sha1'

/** Lower-case hex. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  readonly hex: string
}

/** What is known of a copy that was made; digests in lower-case hex. */
export interface Copied {
  /** Undefined when neither the node told it nor anything else asked for it. */
  readonly sha256?: string | undefined
  /** The digest that was wanted. */
  readonly checksum?: string | undefined
}

/** Seconds that the URLs of one copy work. */
const urlSeconds = 3600

/** Milliseconds that a node has to look at the bytes in a copy's place. */
const setAsideMs = 60_000

/** Which end of a copy failed. */
export class CopyError extends Error {
  override readonly name = 'CopyError'
  readonly devid: number
  readonly end: 'source' | 'destination'

  constructor(end: CopyError['end'], devid: number, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const doing = end === 'source' ? 'reading from' : 'writing to'
    super(`${doing} device ${devid}: ${why}`, { cause })
    this.end = end
    this.devid = devid
  }
}

/** The readable devices among `devids`, best first. */
export function readableSources(
  { cluster, random }: Pick<Context, 'cluster' | 'random'>,
  devids: readonly number[],
): Device[] {
  const holders = devids.flatMap(devid => cluster.device(devid) ?? [])
  return orderForRead(holders, random).filter(isReadable)
}

type Hands = Pick<Context, 'urls' | 'storage' | 'directories' | 'hooks' | 'cluster'>

interface Ends {
  readonly from: number
  readonly to: number
  readonly signal?: AbortSignal | undefined
  /**
   * Told when nobody knows whether a copy that failed has left bytes at the destination: they may be
   * good, and somebody else may have made the same copy.
   */
  readonly leftOver: () => Promise<void>
}

/**
 * Copies `content` from one device to another. The copy has its length checked, and its digests where
 * any are known. Throws CopyError; what may be left at the destination then, `leftOver` is told.
 */
export async function copyReplica(ctx: Hands, content: Content, ends: Ends): Promise<Copied> {
  const arrived = ctx.cluster.expect(ends.to, content.size)
  try {
    // A plugin may name a source that no node knows.
    const other = await alternative(ctx, { devid: ends.from, fid: content.fid })
    const pulled = other ? undefined : await pull(ctx, content, ends)
    return pulled ?? (await relay(ctx, content, ends, other))
  } catch (err) {
    ends.signal?.throwIfAborted()
    if (err instanceof CopyError && isSilence(err.cause)) ctx.cluster.noteSilence(err.devid)
    throw err
  } finally {
    arrived()
  }
}

/**
 * The same for a replica that is to stay. A device that is drained by then gets none: whoever
 * empties it is told that nothing more comes.
 */
export async function placeReplica(ctx: Hands, content: Content, ends: Ends): Promise<Copied> {
  const copied = await copyReplica(ctx, content, ends)
  if (ctx.cluster.device(ends.to)?.status !== 'drain') return copied
  await ends.leftOver()
  const drained = new CodedError('invalid_state', 'it is being drained')
  throw new CopyError('destination', ends.to, drained)
}

/** Has the destination's node fetch the content; undefined when it cannot. */
async function pull(ctx: Hands, content: Content, ends: Ends): Promise<Copied | undefined> {
  const { from, to, signal } = ends
  const { fid, size, sha256 } = content
  const source = urlOf(ctx, 'GET', { devid: from, fid })
  const [, , at = ''] = source.split('/')
  const url = ctx.urls.copy({ devid: to, fid }, at, { seconds: urlSeconds })
  if (!url) throw new CopyError('destination', to, notConfigured(to))
  try {
    const together = ctx.urls.several(to, 'copies', { seconds: urlSeconds })
    const stored = await ctx.storage.copy(url, source, { size, sha256, together, signal })
    if (!stored) return undefined
    const copied = { sha256: stored.sha256 ?? digestOf(stored.receipt) }
    return await verify(ctx, content, { copied, from, to, signal })
  } catch (err) {
    // Its list of sources is its operator's; what it may not fetch can still be brought.
    if (isCoded(err, 'source_refused')) return undefined
    // A node that says so has nothing of it.
    if (isCoded(err, 'source_failed')) throw new CopyError('source', from, err)
    await discard(ctx, content, { ...ends, err })
    throw err instanceof CopyError ? err : new CopyError('destination', to, err)
  }
}

const connectFailures: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** The node was never asked. */
const isConnectFailure = (err: unknown): boolean =>
  isCoded(err, 'storage_unreachable') &&
  connectFailures.has((err.cause as { code?: unknown } | undefined)?.code)

async function alternative(
  { urls, hooks }: Hands,
  replica: { devid: number; fid: number },
): Promise<{ url: string; host?: string } | undefined> {
  const usual = urls.replica(replica, { method: 'GET', seconds: urlSeconds })
  const chosen = usual === undefined ? undefined : await hooks?.copySource(replica, usual)
  return chosen && (chosen.url !== usual || chosen.host !== undefined) ? chosen : undefined
}

/** Brings the bytes from one node to the other. */
async function relay(
  ctx: Hands,
  content: Content,
  ends: Ends,
  other: { readonly url: string; readonly host?: string } | undefined,
): Promise<Copied> {
  const { storage } = ctx
  const { from, to, signal } = ends
  const { fid, size } = content
  const { url, host } = other ?? { url: urlOf(ctx, 'GET', { devid: from, fid }), host: undefined }
  await ctx.directories.forReplica(fid, [to])
  const source = await storage.get(url, { signal, host }).catch((err: unknown) => {
    throw new CopyError('source', from, err)
  })
  if (source.size !== size) {
    source.body.destroy()
    const found = new CodedError('size_mismatch', `${source.size} bytes, not ${size}`)
    throw new CopyError('source', from, found)
  }
  let broken: unknown
  source.body.once('error', err => {
    broken ??= err
  })
  const hashes = hashesFor(content)
  const body = source.body.pipe(hashing([...hashes.values()]))
  source.body.once('error', err => body.destroy(err))
  try {
    const md5 = content.checksum?.algorithm === 'md5' ? content.checksum.hex : undefined
    const stored = await storage.put(await writeUrl(ctx, { devid: to, fid }, signal), body, {
      size,
      signal,
      ...(md5 && { contentMd5: Buffer.from(md5, 'hex') }),
    })
    const read = new Map([...hashes].map(([name, hash]) => [name, hash.digest('hex')]))
    broken = mismatch(content, name => read.get(name))
    if (broken) throw broken as CodedError
    const told = stored.sha256 ?? digestOf(stored.receipt)
    const copied = { sha256: told ?? read.get('sha256') }
    // A node that tells what it stored has looked; any other is asked for the bytes again.
    if (told !== undefined) {
      if (told !== read.get('sha256')) {
        throw new CodedError('checksum_mismatch', 'other bytes arrived than were sent')
      }
      return withWanted(content, copied, read)
    }
    await compareStored(ctx, { devid: to, fid }, { size, sha256: read.get('sha256'), signal })
    return withWanted(content, copied, read)
  } catch (err) {
    source.body.destroy()
    await discard(ctx, content, { ...ends, err: broken ?? err })
    // A source that sent wrong or too few bytes shows at the destination as well: it is to blame.
    if (broken) throw new CopyError('source', from, broken)
    throw new CopyError('destination', to, err)
  }
}

const withWanted = (
  { wanted }: Content,
  copied: Copied,
  read: ReadonlyMap<string, string>,
): Copied => (wanted ? { ...copied, checksum: read.get(wanted) } : copied)

function hashesFor({ checksum, wanted }: Content): Map<string, Hash> {
  const names = new Set(['sha256', checksum?.algorithm, wanted])
  return new Map([...names].flatMap(name => (name ? [[name, createHash(name)] as const] : [])))
}

function hashing(hashes: readonly Hash[]): Transform {
  return new Transform({
    transform(chunk: Buffer, _, done) {
      for (const hash of hashes) hash.update(chunk)
      done(null, chunk)
    },
  })
}

/** Compares a copy that a node made with what is known of the content; finds out what is wanted. */
async function verify(
  ctx: Hands,
  content: Content,
  { copied, from, to, signal }: Omit<Ends, 'leftOver'> & { readonly copied: Copied },
): Promise<Copied> {
  const { fid, sha256, checksum, wanted } = content
  if (sha256 !== undefined && copied.sha256 !== undefined && sha256 !== copied.sha256) {
    const found = new CodedError('checksum_mismatch', `SHA-256 ${copied.sha256}, not ${sha256}`)
    throw new CopyError('source', from, found)
  }
  // What has the SHA-256 that it should have has its other digests, too.
  const known = sha256 !== undefined && copied.sha256 === sha256
  const algorithms = new Set([known ? undefined : checksum?.algorithm, wanted])
  const names = [...algorithms].filter(name => name !== undefined)
  if (names.length === 0) return copied
  const url = urlOf(ctx, 'GET', { devid: to, fid })
  const told = await ctx.storage.digest(url, names, { signal })
  const wrong =
    told && mismatch(content, name => (name === 'sha256' ? undefined : told.digest[name]))
  if (wrong) throw new CopyError('source', from, wrong)
  return { ...copied, checksum: wanted && told?.digest[wanted] }
}

function mismatch(
  { sha256, checksum }: Content,
  found: (name: 'sha256' | ChecksumAlgorithm) => string | undefined,
): CodedError | undefined {
  const pairs = [['sha256', sha256] as const, [checksum?.algorithm, checksum?.hex] as const]
  for (const [name, expected] of pairs) {
    const is = name && found(name)
    if (is !== undefined && expected !== undefined && is !== expected) {
      return new CodedError('checksum_mismatch', `${name} ${is}, not ${expected}`)
    }
  }
  return undefined
}

/** Reads a stored copy again. Throws when it is not what was sent. */
async function compareStored(
  ctx: Hands,
  replica: { devid: number; fid: number },
  {
    size,
    sha256,
    signal,
  }: { size: number; sha256: string | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  const stored = await ctx.storage.get(urlOf(ctx, 'GET', replica), { signal })
  const hash = createHash('sha256')
  await pipeline(stored.body, hash)
  if (stored.size !== size) {
    throw new CodedError('size_mismatch', `${stored.size} bytes arrived, not ${size}`)
  }
  if (hash.digest('hex') !== sha256) {
    throw new CodedError('checksum_mismatch', 'other bytes arrived than were sent')
  }
}

/** Removes what a failed copy may have left behind, and what stood in its way. */
async function discard(
  ctx: Hands,
  content: Content,
  { to, leftOver, err }: Ends & { readonly err: unknown },
): Promise<void> {
  if (isConnectFailure(err)) return
  if (isCoded(err, 'fid_exists') && (await clearPlace(ctx, content, to))) return
  if (!isMismatch(err)) return leftOver()
  const url = ctx.urls.replica({ devid: to, fid: content.fid }, deleting)
  if (!url) return
  await ctx.storage.remove(url, { signal: AbortSignal.timeout(2_000) }).catch(() => {})
}

const deleting = { method: 'DELETE', seconds: urlSeconds } as const

/** Has a node set aside what lies in the content's place and is something else. False: it may be there. */
async function clearPlace(ctx: Hands, { fid, sha256 }: Content, devid: number): Promise<boolean> {
  const url = ctx.urls.replica({ devid, fid }, deleting)
  if (!url || sha256 === undefined) return false
  const signal = AbortSignal.timeout(setAsideMs)
  return (await ctx.storage.setAside(url, sha256, { signal }).catch(() => undefined)) === true
}

/** The bytes that are there are seen to be wrong ones: nobody can have made a replica of them. */
const isMismatch = (err: unknown): boolean =>
  err instanceof CopyError
    ? isMismatch(err.cause)
    : isCoded(err, 'checksum_mismatch') || isCoded(err, 'size_mismatch')

function urlOf(
  { urls }: Hands,
  method: 'GET' | 'PUT',
  replica: { devid: number; fid: number },
): string {
  const url = urls.replica(replica, { method, seconds: urlSeconds })
  if (url) return url
  const end = method === 'GET' ? 'source' : 'destination'
  throw new CopyError(end, replica.devid, notConfigured(replica.devid))
}

/** Where a replica is put: to servers that are not ours a signature means nothing, or something else. */
async function writeUrl(
  ctx: Hands,
  replica: { devid: number; fid: number },
  signal: AbortSignal | undefined,
): Promise<string> {
  const signed = urlOf(ctx, 'PUT', replica)
  const can = await ctx.storage.capabilities(signed, { signal })
  return can.size > 0 ? signed : (ctx.urls.plain(replica, { method: 'PUT' }) ?? signed)
}

const digestOf = (receipt: string | undefined): string | undefined =>
  receipt === undefined ? undefined : parseReceipt(receipt)?.sha256

const notConfigured = (devid: number): CodedError =>
  new CodedError('no_device', `device ${devid} is not configured`)
