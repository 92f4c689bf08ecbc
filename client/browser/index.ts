/**
 * Uploads from a page straight to a storage node. The application hands out a ticket
 * (`files.signedPut`) and afterwards commits what was stored (`files.commitPut`); the bytes do not
 * pass it. An upload goes on by itself when the connection breaks, and after a reload when the same
 * file is given again.
 *
 * ```ts
 * import { upload } from 'omgfiles/browser'
 *
 * const post = async (path, body, signal) => {
 *   const answer = await fetch(path, {
 *     method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal,
 *   })
 *   if (!answer.ok) throw new Error(`${path} answered ${answer.status}`)
 *   return answer.json()
 * }
 * const photo = await upload(input.files[0], {
 *   open: (file, signal) => post('/uploads', { name: file.name, size: file.size }, signal),
 *   commit: (stored, signal) => post('/uploads/commit', stored, signal),
 *   onProgress: ({ sent, size }) => { bar.value = sent / size },
 * })
 * ```
 *
 * @module omgfiles/browser
 */
import type { StoredUpload, UploadTicket } from '../ticket.ts'
import { UploadError } from './error.ts'
import {
  createMemory,
  fingerprint,
  type Memory,
  type Remembered,
  type UploadMemory,
} from './memory.ts'
import { digestOf, send } from './send.ts'

/** How the page talks to its application, and what it wants to know. */
export interface UploadOptions<F extends Blob, T> {
  /** Asks the application for a ticket for this file. */
  readonly open: (file: F, signal: AbortSignal | undefined) => Promise<UploadTicket>
  /** Has the application commit it; what it returns is the result of the upload. */
  readonly commit: (stored: StoredUpload, signal: AbortSignal | undefined) => Promise<T>
  /** Told after a cancelled upload, which would expire by itself. */
  readonly abandon?: (upload: string) => unknown
  /** Bytes that are at the storage node, more or less; falls when another one has to be tried. */
  readonly onProgress?: (progress: { readonly sent: number; readonly size: number }) => void
  /** Cancels the upload, and forgets it. */
  readonly signal?: AbortSignal
  /** Names the upload, for going on with it later; made of the file's name, size and date. */
  readonly id?: string
  /** Where it is remembered; `localStorage`. */
  readonly memory?: UploadMemory
}

/** Failures of a remembered upload after which a new one may do better. */
const stale = ['token_expired', 'bad_token', 'fid_exists', 'checksum_mismatch']

/**
 * Uploads a file and resolves with what `commit` returned. Throws what `open` and `commit` throw, the
 * signal's reason, or UploadError: storage_unreachable, insufficient_storage, checksum_mismatch, or
 * what else the storage node says. Whatever it throws, nothing is there that was not committed.
 * After storage_unreachable, or a TypeError of `commit` (as fetch throws without a connection), what
 * was sent is remembered, and calling it again goes on from there.
 */
export async function upload<F extends Blob, T>(file: F, options: UploadOptions<F, T>): Promise<T> {
  const { signal, abandon, open, commit } = options
  const memory = createMemory(options.id ?? fingerprint(file), options.memory)
  let remembered = memory.read()
  for (let isOld = remembered !== undefined; ; isOld = false) {
    remembered ??= { ticket: await open(file, signal), target: 0 }
    const { ticket } = remembered
    try {
      const stored = await store(file, { ...options, ...remembered, memory, isOld })
      memory.write({ ticket, target: 0, stored })
      const result = await commit(stored, signal)
      memory.forget()
      return result
    } catch (err) {
      if (signal?.aborted) void giveUp(ticket, abandon)
      const mayGoOn = err instanceof TypeError || isCode(err, ['storage_unreachable'])
      if (signal?.aborted || !mayGoOn) memory.forget()
      if (signal?.aborted || !isOld || !isCode(err, stale)) throw err
      remembered = undefined
    }
  }
}

const isCode = (err: unknown, codes: readonly string[]): boolean =>
  err instanceof UploadError && codes.includes(err.code)

async function giveUp(
  { upload: id }: UploadTicket,
  abandon: ((upload: string) => unknown) | undefined,
): Promise<void> {
  try {
    await abandon?.(id)
  } catch {
    // It expires.
  }
}

interface StoreOptions extends Remembered {
  readonly memory: Memory
  readonly isOld: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: UploadOptions<Blob, unknown>['onProgress']
}

/** Sends the file to the target it was on its way to, or to another that takes it. */
async function store(
  file: Blob,
  { ticket, target: first, stored, memory, isOld, signal, onProgress }: StoreOptions,
): Promise<StoredUpload> {
  if (stored) return stored
  const { size } = file
  if (ticket.size !== undefined && ticket.size !== size) {
    throw new UploadError('size_mismatch', `the ticket is for ${ticket.size} bytes, not ${size}`)
  }
  const digest = digestOf(file, signal)
  digest.catch(() => {}) // told to whoever waits for it
  let problem: unknown = new UploadError('no_devices', 'the ticket names no storage node')
  let most = { sent: 0, target: first }
  const { targets } = ticket
  for (let i = 0; i < targets.length; i++) {
    const target = (first + i) % targets.length
    const url = targets[target]!.url
    memory.write({ ticket, target })
    try {
      return await send({
        file,
        ticket,
        url,
        digest,
        resume: isOld && i === 0,
        isLast: i === targets.length - 1,
        signal,
        onProgress(sent) {
          if (sent > most.sent) most = { sent, target }
          onProgress?.({ sent, size })
        },
      })
    } catch (err) {
      if (signal?.aborted || isCode(err, stale)) throw err
      problem = err
    }
  }
  // The next try begins where the least is missing.
  memory.write({ ticket, target: most.target })
  throw problem
}

export type { StoredUpload, UploadTicket } from '../ticket.ts'
export { UploadError } from './error.ts'
export type { UploadMemory } from './memory.ts'
