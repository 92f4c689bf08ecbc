/**
 * Putting a file: open an upload, write the copies, commit. The tracker names more targets than
 * copies are wanted, so that a node which fails is replaced without asking again.
 */
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { CodedError, isCoded, type ErrorCode } from '../common/errors.ts'
import type { CommitUpload, Committed, OpenedUpload, OpenUpload } from '../common/protocol/files.ts'
import { parseReceipt } from '../common/signing.ts'
import type { Source } from './body.ts'
import type { UploadTarget } from './lane.ts'
import type { OnProgress } from './lanes.ts'
import { createSpread, type Spread } from './spread.ts'
import type { PutAnswer, StorageClient } from './storage.ts'
import { tee, wrongDigest } from './tee.ts'
import type { FileRef, TrackerApi } from './tracker-api/index.ts'

export interface UploadOptions {
  readonly api: TrackerApi
  readonly storage: StorageClient
  readonly file: FileRef
  readonly source: Source
  readonly fields: Omit<OpenUpload, 'key' | 'keyBytes'>
  /** Lower-case hex that the content must have. */
  readonly sha256: string | undefined
  readonly signal: AbortSignal | undefined
  readonly onProgress: OnProgress | undefined
}

/**
 * Bodies in memory up to this size are sent to each node by themselves; smaller ones only where
 * somebody wants to see how far it has got.
 */
const directBytes = 1024 * 1024
const directBytesWatched = 64 * 1024

/** How often a body that can be sent again is put, each time as a new upload. */
const maxUploads = 3

/** Failures after which another upload may do better. The file is not there after any of them. */
const passing: readonly ErrorCode[] = [
  'storage_unreachable',
  'insufficient_storage',
  'no_upload',
  'not_enough_copies',
]

/** How long the caller's error waits for the upload to be opened or given up, in milliseconds. */
const abandonMs = 1_000

/**
 * Puts `source` under the key, whole or not at all. The signal is obeyed until the commit is sent.
 * Throws what the tracker refuses with; size_mismatch, checksum_mismatch, or the source's own
 * error; storage_unreachable or insufficient_storage when no node took the file.
 */
export async function upload(options: UploadOptions): Promise<Committed> {
  const { api, file, source, signal } = options
  for (let uploads = 1; ; uploads++) {
    const opened = await open(options)
    const ref = { domain: file.domain, upload: opened.upload }
    try {
      signal?.throwIfAborted()
      const commit = await store(opened, options)
      signal?.throwIfAborted()
      return await api.commitUpload(ref, commit)
    } catch (err) {
      // The answer to the caller does not hang on this: an upload that stays open expires.
      await api.abandonUpload(ref, { signal: AbortSignal.timeout(abandonMs) }).catch(() => {})
      const again = source.canOpen() && isCoded(err) && passing.includes(err.code)
      if (!again || uploads === maxUploads) throw err
    }
    await sleep(100 * uploads * (0.5 + Math.random()), undefined, signal && { signal }).catch(
      () => {},
    )
  }
}

/** Waits a little for the answer after the signal too, so that the upload can be given up. */
async function open({ api, file, fields, signal }: UploadOptions): Promise<OpenedUpload> {
  signal?.throwIfAborted()
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    timer = setTimeout(() => late.abort(signal?.reason), abandonMs)
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await api.openUpload(file, fields, { signal: late.signal })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

interface Content {
  readonly size: number
  readonly sha256: string
}

/** Copies of one upload as they come to be. */
interface Copies {
  readonly opened: OpenedUpload
  readonly spread: Spread
  readonly stored: { readonly target: UploadTarget; readonly receipt?: string }[]
  readonly failures: unknown[]
}

/** Writes the copies; at least one is there when this resolves. */
async function store(opened: OpenedUpload, options: UploadOptions): Promise<CommitUpload> {
  const copies: Copies = {
    opened,
    spread: createSpread(opened.targets),
    stored: [],
    failures: [],
  }
  const { source, onProgress } = options
  const { bytes } = source
  const content =
    bytes && bytes.length <= (onProgress ? directBytesWatched : directBytes)
      ? await storeBytes(copies, bytes, options)
      : await storeStream(copies, options)
  const { stored } = copies
  if (!content || stored.length === 0) throw nothingStored(copies.failures)
  const hosts = new Set(stored.map(({ target }) => target.host)).size
  return {
    copies: stored.map(({ target, receipt }) => ({
      devid: target.devid,
      ...(receipt !== undefined && { receipt }),
    })),
    ...content,
    ...((stored.length < opened.copies || hosts < opened.copies) && { makeCopies: true }),
  }
}

/** Each copy by itself: a node that fails at any point is replaced by the next. */
async function storeBytes(
  copies: Copies,
  bytes: Uint8Array,
  { storage, sha256: wanted, signal, onProgress }: UploadOptions,
): Promise<Content> {
  const { spread, opened, failures } = copies
  const hashing = contentOf(bytes, wanted === undefined)
  if (wanted !== undefined) {
    const { sha256 } = await hashing
    if (sha256 !== wanted) throw wrongDigest(wanted, sha256)
  }
  async function fillSlot(): Promise<void> {
    for (;;) {
      const target = signal?.aborted ? undefined : spread.take()
      if (!target) return
      try {
        const answer = await storage.put(target.url, bytes, { signal })
        if (record(copies, target, answer, await hashing)) return
      } catch (err) {
        failures.push(err)
        spread.drop(target)
      }
    }
  }
  await Promise.all(Array.from({ length: opened.copies }, fillSlot))
  signal?.throwIfAborted()
  const content = await hashing
  if (copies.stored.length > 0) onProgress?.({ sent: content.size, size: content.size })
  return content
}

/** Size and digest; `later`: once the requests of this turn are on their way, as the nodes have work then. */
async function contentOf(bytes: Uint8Array, later: boolean): Promise<Content> {
  if (later) await nextTurn()
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** All copies from one reading, and those that failed meanwhile from a second where there can be one. */
async function storeStream(
  copies: Copies,
  { storage, source, sha256, signal, onProgress }: UploadOptions,
): Promise<Content | undefined> {
  const { spread, opened, stored, failures } = copies
  const onFailure = (err: unknown): void => void failures.push(err)
  const common = { storage, spread, signal, onFailure }
  const first = await tee(source, { ...common, copies: opened.copies, sha256, onProgress })
  if (!first) return undefined
  for (const { target, answer } of first.answers) record(copies, target, answer, first)

  const missing = opened.copies - stored.length
  if (stored.length > 0 && missing > 0 && source.canOpen()) {
    const options = { ...common, copies: missing, sha256: first.sha256, onProgress: undefined }
    // The content is safe once already: whatever goes wrong now only leaves fewer copies.
    const second = await tee(source, options).catch(onFailure)
    for (const { target, answer } of second?.answers ?? []) record(copies, target, answer, first)
    signal?.throwIfAborted()
  }
  return { size: first.size, sha256: first.sha256 }
}

/** Notes a copy if the node has stored what was sent; a foreign node does not say. */
function record(
  { opened, spread, stored, failures }: Copies,
  target: UploadTarget,
  { receipt, sha256 }: PutAnswer,
  content: Content,
): boolean {
  const told = receipt === undefined ? undefined : parseReceipt(receipt)
  const same =
    receipt === undefined
      ? sha256 === undefined || sha256 === content.sha256
      : told?.fid === opened.fid &&
        told.devid === target.devid &&
        told.size === content.size &&
        told.sha256 === content.sha256
  if (same) {
    stored.push({ target, ...(receipt !== undefined && { receipt }) })
    return true
  }
  const message = `device ${target.devid} stored other bytes than were sent`
  failures.push(new CodedError('checksum_mismatch', message))
  spread.drop(target)
  return false
}

function nothingStored(failures: readonly unknown[]): CodedError {
  const full =
    failures.length > 0 && failures.every(failure => isCoded(failure, 'insufficient_storage'))
  const last = failures.at(-1)
  const why = last instanceof Error ? `: ${last.message}` : ''
  return new CodedError(
    full ? 'insufficient_storage' : 'storage_unreachable',
    `none of the ${failures.length} storage nodes tried took the file${why}`,
    { cause: new AggregateError(failures, 'what each storage node failed with') },
  )
}
