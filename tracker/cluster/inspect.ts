/** What storage nodes have of a file: ours tell sizes and digests in lists, others one by one. */
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { isCoded } from '../../common/errors.ts'
import { isReadable } from '../policy/device.ts'
import type { DigestAlgorithm } from '../policy/fsck.ts'
import type { Context } from './context.ts'

type Eyes = Pick<Context, 'cluster' | 'storage' | 'urls'>

/** Seconds that the URLs of one look work; a digest of a large file takes its time. */
const urlSeconds = 3600

export interface Unreachable {
  readonly kind: 'unreachable'
  readonly why: string
}

export type SizeSeen =
  { readonly kind: 'there'; readonly size: number } | { readonly kind: 'missing' } | Unreachable

export type DigestSeen =
  | { readonly kind: 'digest'; readonly hex: string }
  | { readonly kind: 'missing' }
  /** The device is there and cannot read the file. */
  | { readonly kind: 'unreadable'; readonly why: string }
  | Unreachable

export interface ReplicaRef {
  readonly fid: number
  readonly devid: number
}

/** The size of a replica on its device. A device that nobody may read now is not asked. */
export async function seeSize(
  ctx: Eyes,
  { fid, devid }: ReplicaRef,
  signal: AbortSignal,
): Promise<SizeSeen> {
  const url = readUrl(ctx, { fid, devid })
  if (url === undefined) return cannotRead(devid)
  try {
    const found = await ctx.storage.head(url, { signal })
    return found ? { kind: 'there', size: found.size } : { kind: 'missing' }
  } catch (err) {
    signal.throwIfAborted()
    return unreachable(ctx, devid, err)
  }
}

/** The digest of all the bytes of a replica, read by its node where that can, else here. */
export async function seeDigest(
  ctx: Eyes,
  { fid, devid }: ReplicaRef,
  algorithm: DigestAlgorithm,
  signal: AbortSignal,
): Promise<DigestSeen> {
  const url = readUrl(ctx, { fid, devid })
  if (url === undefined) return cannotRead(devid)
  try {
    const told = await ctx.storage.digest(url, [algorithm], { signal, patient: true })
    const hex = told?.digest[algorithm] ?? (await hash(ctx, url, algorithm, signal))
    return { kind: 'digest', hex }
  } catch (err) {
    signal.throwIfAborted()
    if (isCoded(err, 'not_found')) return { kind: 'missing' }
    if (isCoded(err, 'device_failed')) return { kind: 'unreadable', why: sentence(err) }
    return unreachable(ctx, devid, err)
  }
}

async function hash(
  { storage }: Eyes,
  url: string,
  algorithm: DigestAlgorithm,
  signal: AbortSignal,
): Promise<string> {
  const { body } = await storage.get(url, { signal })
  const digest = createHash(algorithm)
  await pipeline(body, digest)
  return digest.digest('hex')
}

/** A file's bytes to look for on a device. */
export interface Expected {
  readonly fid: number
  readonly size: number
}

/** A list that would name so many times more files than are asked for costs more than asking. */
const sparse = 8

/** Requests under way at once where a node has to be asked file by file. */
const parallel = 16

/**
 * Of `files`, in the order of their fids, those whose replicas on `devid` are not plainly there with
 * the right size. It may err on the side of suspicion: whoever acts on it looks again.
 */
export async function suspectSizes(
  ctx: Eyes,
  devid: number,
  files: readonly Expected[],
  signal: AbortSignal,
): Promise<number[]> {
  const [first, last] = [files[0], files.at(-1)]
  if (!first || !last) return []
  const span = last.fid - first.fid + 1
  if (span <= files.length * sparse + 100 && last.fid < 1e10) {
    const listed = await listedSizes(ctx, devid, { from: first.fid, to: last.fid }, signal)
    if (listed) return files.flatMap(({ fid, size }) => (listed.get(fid) === size ? [] : [fid]))
  }
  const suspects: number[] = []
  const queue = files.values()
  const lane = async (): Promise<void> => {
    for (const { fid, size } of queue) {
      const seen = await seeSize(ctx, { fid, devid }, signal)
      if (seen.kind !== 'there' || seen.size !== size) suspects.push(fid)
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, files.length) }, lane))
  return suspects
}

/** Sizes by fid as far as the node lists them; undefined when it cannot list. */
async function listedSizes(
  ctx: Eyes,
  devid: number,
  { from, to }: { from: number; to: number },
  signal: AbortSignal,
): Promise<ReadonlyMap<number, number> | undefined> {
  const url = inventoryUrl(ctx, devid)
  const sizes = new Map<number, number>()
  try {
    if (!url || !(await ctx.storage.capabilities(url, { signal })).has('inventory'))
      return undefined
    // Up to ten digits, the order of the paths is that of the fids.
    const options = { after: from - 1, until: to, signal }
    for await (const { fid, size } of ctx.storage.inventory(url, options)) {
      if (fid > to) break
      sizes.set(fid, size)
    }
  } catch (err) {
    signal.throwIfAborted()
    if (isCoded(err, 'not_implemented')) return undefined
    // What came before it broke off is good; the rest is suspected.
  }
  return sizes
}

/** Where the list of a device's files is; undefined while nobody may read the device. */
export function inventoryUrl(
  { cluster, urls }: Pick<Eyes, 'cluster' | 'urls'>,
  devid: number,
): string | undefined {
  const device = cluster.device(devid)
  const host = device && cluster.snapshot.hosts.get(device.host.id)
  if (!host || !isReadable(device)) return undefined
  return urls.object(host, { devid, name: 'inventory' }, { method: 'GET', seconds: urlSeconds })
}

function readUrl({ cluster, urls }: Eyes, replica: ReplicaRef): string | undefined {
  const device = cluster.device(replica.devid)
  if (!device || !isReadable(device)) return undefined
  return urls.replica(replica, { method: 'GET', seconds: urlSeconds })
}

/** It is treated as lost and cannot be asked: what lies there is looked at once it is back. */
export function isLost({ cluster }: Pick<Eyes, 'cluster'>, devid: number): boolean {
  const device = cluster.device(devid)
  return device?.lost === true && !isReadable(device)
}

/** What there is to say of a device that nobody may read now. */
export const cannotRead = (devid: number): Unreachable => ({
  kind: 'unreachable',
  why: `device ${devid} cannot be read now`,
})

/** The node gave no answer. */
export const isSilence = (err: unknown): boolean =>
  isCoded(err, 'storage_unreachable') && err.cause !== undefined

function unreachable({ cluster }: Pick<Eyes, 'cluster'>, devid: number, err: unknown): Unreachable {
  if (isSilence(err)) cluster.noteSilence(devid)
  return { kind: 'unreachable', why: sentence(err) }
}

const sentence = (err: unknown): string => (err instanceof Error ? err.message : String(err))
