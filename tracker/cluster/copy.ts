/** Makes one more replica of a content, verified, with bytes flowing from node to node through here. */
import { CodedError } from '../../common/errors.ts'
import { parseReceipt } from '../../common/signing.ts'
import { isReadable, type Device } from '../policy/device.ts'
import { orderForRead } from '../policy/placement.ts'
import type { Context } from './context.ts'

export interface Content {
  readonly fid: number
  readonly size: number
  /** Lower-case hex; undefined when not known. */
  readonly sha256: string | undefined
}

/** Seconds that the URLs of one copy work. */
const urlSeconds = 3600

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
  const holders = cluster.devices().filter(device => devids.includes(device.devid))
  return orderForRead(holders, random).filter(isReadable)
}

/**
 * Copies `content` from one device to another and returns its SHA-256 when the destination's node
 * told it. The copy has its length checked, and its checksum where one is known on both sides.
 * Throws CopyError; then nothing is left at the destination, as far as it can be reached.
 */
export async function copyReplica(
  { urls, storage }: Pick<Context, 'urls' | 'storage'>,
  content: Content,
  { from, to, signal }: { from: number; to: number; signal?: AbortSignal },
): Promise<string | undefined> {
  const { fid } = content
  const urlOf = (method: 'GET' | 'PUT' | 'DELETE', devid: number): string => {
    const url = urls.replica({ devid, fid }, { method, seconds: urlSeconds })
    if (!url) throw new CodedError('no_device', `device ${devid} is not configured`)
    return url
  }
  const abort = signal ? { signal } : {}

  const source = await storage.get(urlOf('GET', from), abort).catch((err: unknown) => {
    throw new CopyError('source', from, err)
  })
  if (source.size !== content.size) {
    source.body.destroy()
    const found = new CodedError('size_mismatch', `${source.size} bytes, not ${content.size}`)
    throw new CopyError('source', from, found)
  }
  let broken: unknown
  source.body.once('error', err => {
    broken ??= err
  })
  try {
    const stored = await storage.put(urlOf('PUT', to), source.body, {
      size: content.size,
      ...abort,
    })
    const sha256 = stored.sha256 ?? (stored.receipt && parseReceipt(stored.receipt)?.sha256)
    if (sha256 && content.sha256 && sha256 !== content.sha256) {
      broken = new CodedError('checksum_mismatch', `SHA-256 ${sha256}, not ${content.sha256}`)
      throw broken
    }
    if (!sha256) await verifySize(storage, urlOf('GET', to), content.size)
    return sha256
  } catch (err) {
    source.body.destroy()
    // What a foreign node may have kept of a failed PUT; ours keeps nothing.
    await storage
      .remove(urlOf('DELETE', to), { signal: AbortSignal.timeout(2_000) })
      .catch(() => {})
    // A source that sent wrong or too few bytes shows at the destination as well: it is to blame.
    if (broken) throw new CopyError('source', from, broken)
    throw new CopyError('destination', to, err)
  }
}

async function verifySize(storage: Context['storage'], url: string, size: number): Promise<void> {
  const found = await storage.head(url)
  if (found?.size !== size) {
    throw new CodedError('size_mismatch', `${found?.size ?? 'no'} bytes arrived, not ${size}`)
  }
}
