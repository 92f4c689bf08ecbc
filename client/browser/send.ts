/** The bytes of a file on their way to one storage node, in parts, across broken connections. */
import type { StoredUpload, UploadTicket } from '../ticket.ts'
import { UploadError } from './error.ts'
import { put, type PutReply } from './request.ts'
import { Sha256, toHex } from './sha256.ts'

export interface SendOptions {
  readonly file: Blob
  readonly ticket: UploadTicket
  readonly url: string
  /** SHA-256 of the file, which may still be at work. */
  readonly digest: Promise<Uint8Array>
  /** An earlier page may have sent some of it. */
  readonly resume: boolean
  /** There is no other to turn to. */
  readonly isLast: boolean
  readonly signal: AbortSignal | undefined
  readonly onProgress: (sent: number) => void
}

/** Bytes of a part. */
const partBytes = 8 * 1024 * 1024

/** Bytes that are hashed at a time, so that the page stays alive. */
const hashBytes = 1024 * 1024

/** How long a node that does not go on is asked again, in milliseconds. */
const patienceMs = 30_000

/** The same for one that does not say what it has of an earlier page's, where there are others. */
const resumeMs = 5_000

/** Failures that may pass. */
const passing = [
  'storage_unreachable',
  'overloaded',
  'shutting_down',
  'request_timeout',
  'size_mismatch',
]

/** Parts under way: a connection alone does not fill a long line, and a page has few. */
const partsAtOnce = 3

interface Part {
  readonly end: number
  /** The node has the bytes before this. */
  at: number
  /** Bytes before this are on their way, or there. */
  sent: number
}

/** Sends the file, or what is missing of it. Throws UploadError, or the signal's reason. */
export async function send(options: SendOptions): Promise<StoredUpload> {
  const { file, ticket, signal } = options
  // When one part fails for good, the others end.
  const stop = new AbortController()
  const onAbort = (): void => stop.abort(signal?.reason)
  signal?.addEventListener('abort', onAbort)
  try {
    signal?.throwIfAborted()
    const receipt = await sendParts({ ...options, signal: stop.signal })
    return check(receipt, ticket, { size: file.size, digest: await options.digest })
  } catch (err) {
    stop.abort(err)
    throw err
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Returns the receipt for the whole file. */
async function sendParts(options: SendOptions & { readonly signal: AbortSignal }): Promise<string> {
  const { file, resume, isLast, signal, onProgress } = options
  const { size } = file
  let receipt: string | undefined
  let begun = 0
  const parts = new Set<Part>()

  function report(): number {
    const waiting = [...parts].reduce((sum, { sent, end }) => sum + Math.max(end - sent, 0), 0)
    onProgress(begun - waiting)
    return begun - waiting
  }

  async function sendPart(part: Part, { asks }: { readonly asks: boolean }): Promise<void> {
    let patience = resume && !isLast ? resumeMs : patienceMs
    let patientUntil: number | undefined // from the first failure since the node went on last
    let problem: unknown
    let waitMs = asks ? 0 : undefined
    do {
      try {
        if (waitMs !== undefined) await pause(waitMs, signal)
        const range = { first: part.at, end: waitMs === undefined ? part.end : part.at }
        const onSent = (sent: number): void => {
          part.sent = range.first + sent
          report()
        }
        const reply: PutReply = await putPart({ ...options, onProgress: onSent }, range)
        if ('receipt' in reply) {
          receipt = reply.receipt
          return
        }
        if (reply.offset > part.at) {
          patience = patienceMs
          patientUntil = undefined
        } else if (patientUntil !== undefined && performance.now() > patientUntil) throw problem
        part.at = part.sent = reply.offset
        waitMs = undefined
        report()
      } catch (err) {
        signal.throwIfAborted()
        problem = err
        patientUntil ??= performance.now() + patience
        const passes = err instanceof UploadError && passing.includes(err.code)
        // One that has nothing yet is not waited for. One that is just writing what an earlier page
        // has sent refuses the question until it has noticed that the page is gone.
        const hopeful = isLast || resume || report() > 0
        // What was under way may have taken long: only a question that fails tells that it is too late.
        const late = waitMs !== undefined && performance.now() > patientUntil
        if (!passes || late || !hopeful) throw err
        waitMs = Math.min((waitMs ?? 0) * 2 + 250, 10_000)
      }
    } while (part.at < part.end && receipt === undefined)
  }

  /** Asks how far the node has got from the beginning on; an empty file is sent that way. */
  async function ask(): Promise<number> {
    const part = { at: 0, sent: 0, end: 0 }
    await sendPart(part, { asks: true })
    return part.at
  }

  /** Sends one part after another that no other has begun; those before `oldEnd` may be there in part. */
  async function work(oldEnd: number): Promise<void> {
    while (begun < size && receipt === undefined) {
      const at = begun
      begun = Math.min((Math.floor(at / partBytes) + 1) * partBytes, size)
      const part = { at, sent: at, end: begun }
      parts.add(part)
      await sendPart(part, { asks: at < oldEnd })
      parts.delete(part)
    }
  }

  if (resume || size === 0) begun = await ask()
  // An earlier page had so many under way at the most.
  const oldEnd = resume ? begun + partsAtOnce * partBytes : 0
  if (receipt === undefined) {
    await Promise.all(Array.from({ length: partsAtOnce }, () => work(oldEnd)))
  }
  // The last two may have come to their ends side by side.
  if (receipt === undefined) await ask()
  if (receipt === undefined) {
    throw new UploadError('storage_unreachable', 'the storage node does not have all parts')
  }
  return receipt
}

/** One part, or for an empty one the question what is there from its first byte on. */
function putPart(
  { file, url, signal, onProgress }: SendOptions,
  { first, end }: { readonly first: number; readonly end: number },
): Promise<PutReply> {
  const total = file.size
  const isQuestion = first === end
  const range = isQuestion ? '*' : `${first}-${end - 1}`
  return put({
    url,
    body: file.slice(first, end),
    headers: {
      // Of an empty file there is no part.
      ...(total > 0 && { 'content-range': `bytes ${range}/${total}` }),
      ...(isQuestion && first > 0 && { 'omg-from': String(first) }),
    },
    total,
    onProgress,
    signal,
  })
}

/** The SHA-256 of a file, read a little at a time. */
export async function digestOf(file: Blob, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const hash = new Sha256()
  for (let at = 0; at < file.size; at += hashBytes) {
    signal?.throwIfAborted()
    hash.update(new Uint8Array(await file.slice(at, at + hashBytes).arrayBuffer()))
  }
  return hash.digest()
}

/** Compares what the node says that it has with what was sent. */
function check(
  receipt: string,
  { upload }: UploadTicket,
  { size, digest }: { readonly size: number; readonly digest: Uint8Array },
): StoredUpload {
  const sha256 = toHex(digest)
  const [, , , toldSize, toldSha256] = receipt.split('.')
  if (toldSize !== String(size) || toldSha256 !== sha256) {
    throw new UploadError('checksum_mismatch', 'the storage node has stored other bytes')
  }
  return { upload, receipt, size, sha256 }
}

/** Waits; shorter when the browser is online again. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      removeEventListener('online', done)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    addEventListener('online', done)
    signal?.addEventListener('abort', done)
  })
}
