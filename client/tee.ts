/** A stream read once and written to several storage nodes at the pace of the slowest. */
import { createHash } from 'node:crypto'
import { CodedError } from '../common/errors.ts'
import { toBytes, type Source } from './body.ts'
import type { Lane, UploadTarget } from './lane.ts'
import { Lanes, type OnProgress } from './lanes.ts'
import type { Spread } from './spread.ts'
import type { PutAnswer, StorageClient } from './storage.ts'

export interface TeeOptions {
  readonly storage: StorageClient
  readonly spread: Spread
  /** Copies to write. */
  readonly copies: number
  readonly signal: AbortSignal | undefined
  readonly onProgress: OnProgress | undefined
  /** The content must have this digest. */
  readonly sha256: string | undefined
  /** Called with what went wrong at one target, the others going on. */
  readonly onFailure: (error: unknown) => void
}

export interface Teed {
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
  /** The nodes that took the whole body, with their unchecked answers. */
  readonly answers: readonly { readonly target: UploadTarget; readonly answer: PutAnswer }[]
}

/**
 * Writes `source` to `copies` targets at once. Nothing of it is read before each has a connection,
 * a target without one being replaced by the next; one that fails later is let go. Undefined when
 * no target was left, before the body or in the middle of it. Rejects with the source's own error,
 * size_mismatch, checksum_mismatch or the signal's reason, and then no node was given a whole body
 * that it could keep, except one of known size whose digest is wrong.
 */
export async function tee(source: Source, options: TeeOptions): Promise<Teed | undefined> {
  const { spread, signal, onFailure } = options
  const lanes = new Lanes(source.size, options.onProgress)
  const onAbort = (): void => {
    lanes.cancel(signal?.reason)
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const connected = await connect(lanes, options)
    signal?.throwIfAborted()
    if (connected.length === 0) return undefined
    const content = await feed(source, connected, options)
    const answers: { target: UploadTarget; answer: PutAnswer }[] = []
    for (const lane of connected) {
      const end = await lane.over
      if ('answer' in end) {
        answers.push({ target: lane.target, answer: end.answer })
      } else {
        spread.drop(lane.target)
        onFailure(end.error)
      }
    }
    signal?.throwIfAborted()
    lanes.throwProblem()
    return content && { ...content, answers }
  } catch (err) {
    lanes.cancel(err)
    throw err
  } finally {
    // The requests are over before anyone gives the upload up.
    await lanes.over()
    signal?.removeEventListener('abort', onAbort)
  }
}

/** One connected lane per copy, or fewer when the targets are used up. */
async function connect(
  lanes: Lanes,
  { storage, spread, copies, signal, onFailure }: TeeOptions,
): Promise<Lane[]> {
  const connected: Lane[] = []
  async function fillSlot(): Promise<void> {
    for (;;) {
      const target = signal?.aborted ? undefined : spread.take()
      if (!target) return
      const lane = await lanes.open(storage, target)
      if (await lane.connected) {
        connected.push(lane)
        return
      }
      spread.drop(target)
      const end = await lane.over
      if ('error' in end) onFailure(end.error)
    }
  }
  await Promise.all(Array.from({ length: copies }, fillSlot))
  return connected
}

/** Gives the source to all lanes, and ends them. Undefined when none is alive any more. */
async function feed(
  source: Source,
  lanes: readonly Lane[],
  { signal, sha256 }: TeeOptions,
): Promise<{ size: number; sha256: string } | undefined> {
  const { size } = source
  const hash = createHash('sha256')
  const stream = source.open()
  const isDead = (): boolean => lanes.every(lane => !lane.isAlive())
  // A source that is silent would hide that nobody listens any more.
  for (const lane of lanes) void lane.over.then(() => isDead() && stream.destroy())
  let sent = 0
  try {
    for await (const chunk of stream) {
      const piece = toBytes(chunk)
      if (piece.length === 0) continue
      hash.update(piece)
      sent += piece.length
      if (size !== undefined && sent > size) throw wrongSize(size, `at least ${sent}`)
      for (const lane of lanes) await lane.ready()
      if (isDead()) break
      for (const lane of lanes) lane.give(piece)
    }
  } catch (err) {
    signal?.throwIfAborted()
    if (!isDead()) throw err
  } finally {
    stream.destroy()
  }
  if (isDead()) return undefined
  if (size !== undefined && sent !== size) throw wrongSize(size, String(sent))
  const digest = hash.digest('hex')
  if (sha256 !== undefined && digest !== sha256) throw wrongDigest(sha256, digest)
  for (const lane of lanes) await lane.ready()
  for (const lane of lanes) lane.end()
  return { size: sent, sha256: digest }
}

const wrongSize = (size: number, sent: string): CodedError =>
  new CodedError('size_mismatch', `the body has ${sent} bytes, not ${size}`)

/** The error of a body that is not what its sender said. */
export const wrongDigest = (wanted: string, found: string): CodedError =>
  new CodedError('checksum_mismatch', `the body has SHA-256 ${found}, not ${wanted}`)
