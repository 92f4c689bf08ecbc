/** Saving a file of the cluster on this machine: whole, or not at all. */
import { createHash, randomUUID, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { ReadableFile } from '../download.ts'
import type { FileEntry } from '../entries.ts'
import type { Client } from '../index.ts'
import { CommandFailure } from './failure.ts'

export interface SaveOptions {
  readonly files: Client
  readonly path: string
  /** Keep the part that has arrived when the download breaks, and continue the part of an earlier call. */
  readonly resume: boolean
  readonly signal: AbortSignal
  /** Called once, when the download starts. */
  readonly onStart: (file: FileEntry) => void
  /** Called with the number of bytes that have just arrived. */
  readonly onBytes: (count: number) => void
}

/**
 * Throws CommandFailure, or the error of the system, when no file can be written at `path`, or when one
 * would be replaced without `force`.
 */
export async function checkTarget(path: string, force: boolean): Promise<void> {
  const there = await lstat(path).catch((err: NodeJS.ErrnoException) => {
    if (err.code !== 'ENOENT') throw err
  })
  if (there?.isDirectory()) throw new CommandFailure(`${path}: is a directory`)
  if (there && !force) throw new CommandFailure(`${path}: file exists (--force replaces it)`)
  if (there && !there.isFile() && !there.isSymbolicLink()) {
    throw new CommandFailure(`${path}: is not a regular file (- writes to standard output)`)
  }
}

/**
 * Downloads a file to a temporary name beside `path`. It gets its own name when it is complete, its
 * checksum is right, and it is flushed to disk. A failure leaves nothing behind, or with `resume` the
 * part that has arrived, which the next call continues.
 */
export async function save(key: string | Uint8Array, options: SaveOptions): Promise<FileEntry> {
  const { files, path, signal, onStart } = options
  if (options.resume) {
    const info = await files.stat(key, { signal })
    if (info.sha256 !== undefined) return continuePart(key, info, options)
  }
  const file = await files.get(key, { signal })
  onStart(file)
  const temp = join(dirname(path), `.omg-${randomUUID()}.part`)
  try {
    await write(file, { temp, options })
    await rename(temp, path)
  } catch (err) {
    await rm(temp, { force: true })
    throw aboutTarget(err, { temp, path })
  }
  return file
}

/** The name of the part holds the fid of the content, so it cannot be a part of another content. */
async function continuePart(
  key: string | Uint8Array,
  info: FileEntry,
  options: SaveOptions,
): Promise<FileEntry> {
  const { files, path, signal, onStart, onBytes } = options
  const temp = join(dirname(path), `.omg-fid${info.fid}.part`)
  let start = (await stat(temp).catch(() => undefined))?.size ?? 0
  if (start > info.size) {
    await rm(temp, { force: true })
    start = 0
  }
  const file = await files.get(key, { start, verify: false, signal })
  if (file.fid !== info.fid) {
    file.body.destroy()
    throw new CommandFailure(`${path}: the file was replaced while it was downloaded; try again`)
  }
  onStart(file)
  onBytes(start)
  const hash = createHash('sha256')
  if (start > 0) await pipeline(createReadStream(temp), hash, { signal, end: false })
  try {
    await write(file, { temp, options, hash })
    const found = hash.digest('hex')
    if (found !== info.sha256) {
      const text = `the bytes have SHA-256 ${found}, not ${info.sha256}`
      throw new CodedError('checksum_mismatch', text)
    }
    await rename(temp, path)
  } catch (err) {
    if (isCoded(err, 'checksum_mismatch')) await rm(temp, { force: true })
    throw aboutTarget(err, { temp, path })
  }
  return file
}

/** Errors of a write. They come without a path. */
const noRoom: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO'])

/** The same error about `path`, since the user does not know the temporary name. */
function aboutTarget(err: unknown, { temp, path }: { temp: string; path: string }): unknown {
  const failure = err as NodeJS.ErrnoException
  if (failure.path === temp || noRoom.has(failure.code)) failure.path = path
  return err
}

/** Writes a new file, or with `hash` appends to the part that is there already. */
async function write(
  { body }: ReadableFile,
  { temp, options: { onBytes, signal }, hash }: { temp: string; options: SaveOptions; hash?: Hash },
): Promise<void> {
  await pipeline(
    body,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash?.update(chunk)
        onBytes(chunk.length)
        yield chunk
      }
    },
    createWriteStream(temp, { flags: hash ? 'a' : 'wx', flush: true }),
    { signal },
  )
}
