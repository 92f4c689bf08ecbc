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

/** Sends the file, or what is missing of it. Throws UploadError, or the signal's reason. */
export async function send(options: SendOptions): Promise<StoredUpload> {
  const { file, ticket, resume, isLast, signal, onProgress } = options
  const { size } = file
  let patience = resume && !isLast ? resumeMs : patienceMs
  let patientUntil: number | undefined // from the first failure since the node went on last
  let problem: unknown
  let at = 0
  let waitMs = resume ? 0 : undefined
  for (;;) {
    try {
      let reply: PutReply
      if (waitMs === undefined) {
        const end = Math.min(at + partBytes, size)
        const digest = end === size ? await options.digest : undefined
        reply = await putPart(options, { first: at, end, digest })
      } else {
        await pause(waitMs, signal)
        reply = await putPart(options, { first: 0, end: 0, digest: undefined })
      }
      if ('receipt' in reply)
        return check(reply.receipt, ticket, { size, digest: await options.digest })
      if (reply.offset > at) {
        patience = patienceMs
        patientUntil = undefined
      } else if (patientUntil !== undefined && performance.now() > patientUntil) throw problem
      at = reply.offset
      waitMs = undefined
      onProgress(at)
    } catch (err) {
      signal?.throwIfAborted()
      problem = err
      patientUntil ??= performance.now() + patience
      const passes = err instanceof UploadError && passing.includes(err.code)
      // One that has nothing yet is not waited for. One that is just writing what an earlier page
      // has sent refuses the question until it has noticed that the page is gone.
      const hopeful = at > 0 || isLast || resume
      // What was under way may have taken long: only a question that fails tells that it is too late.
      const late = waitMs !== undefined && performance.now() > patientUntil
      if (!passes || late || !hopeful) throw err
      waitMs = Math.min((waitMs ?? 0) * 2 + 250, 10_000)
    }
  }
}

interface Part {
  readonly first: number
  readonly end: number
  readonly digest: Uint8Array | undefined
}

/** One part, or for an empty one the question how much is there. */
function putPart(
  { file, url, signal, onProgress }: SendOptions,
  { first, end, digest }: Part,
): Promise<PutReply> {
  const total = file.size
  const range = first === end ? '*' : `${first}-${end - 1}`
  return put({
    url,
    body: file.slice(first, end),
    headers: {
      // Of an empty file there is no part.
      ...(total > 0 && { 'content-range': `bytes ${range}/${total}` }),
      ...(digest && { 'repr-digest': `sha-256=:${btoa(String.fromCharCode(...digest))}:` }),
    },
    total,
    onProgress: sent => onProgress(first + sent),
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
