/** A file of the cluster onto this machine: whole under its name, or not there. */
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
  /** Keep what has come when it breaks, and go on behind what an earlier call has left. */
  readonly resume: boolean
  readonly signal: AbortSignal
  /** Told the size, and of the bytes as they come. */
  readonly onStart: (file: FileEntry) => void
  readonly onBytes: (count: number) => void
}

/**
 * Throws CommandFailure, or what the system says, unless a file may be written at `path`: nothing is
 * replaced without `force`.
 */
export async function checkTarget(path: string, force: boolean): Promise<void> {
  const there = await lstat(path).catch((err: NodeJS.ErrnoException) => {
    if (err.code !== 'ENOENT') throw err
  })
  if (there?.isDirectory()) throw new CommandFailure(`${path}: is a directory`)
  if (there && !force) throw new CommandFailure(`${path}: file exists (--force replaces it)`)
  if (there && !there.isFile() && !there.isSymbolicLink()) {
    throw new CommandFailure(`${path}: is no regular file (- writes to standard output)`)
  }
}

/**
 * Writes a file beside `path`; it gets its name when it is complete, its checksum is right, and it is
 * flushed. What fails leaves nothing, with `resume` a part that the next call goes on with.
 */
export async function save(key: string | Uint8Array, options: SaveOptions): Promise<FileEntry> {
  const { files, path, signal, onStart } = options
  if (options.resume) {
    const info = await files.stat(key, { signal })
    if (info.sha256 !== undefined) return goOn(key, info, options)
  }
  const file = await files.get(key, { signal })
  onStart(file)
  const temp = join(dirname(path), `.omg-${randomUUID()}.part`)
  try {
    await write(file, temp, options)
    await rename(temp, path)
  } catch (err) {
    await rm(temp, { force: true })
    throw aboutTarget(err, { temp, path })
  }
  return file
}

/** The content's number names the part: it can be no part of another content. */
async function goOn(
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
    throw new CommandFailure(`${path}: the file was replaced meanwhile, try again`)
  }
  onStart(file)
  onBytes(start)
  const hash = createHash('sha256')
  if (start > 0) await pipeline(createReadStream(temp), hash, { signal, end: false })
  try {
    await write(file, temp, options, hash)
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

/** Failures of a write, which name no file. */
const noRoom: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO'])

/** The same failure, of the file that was to be written: nobody has heard of the other name. */
function aboutTarget(err: unknown, { temp, path }: { temp: string; path: string }): unknown {
  const failure = err as NodeJS.ErrnoException
  if (failure.path === temp || noRoom.has(failure.code)) failure.path = path
  return err
}

async function write(
  { body }: ReadableFile,
  temp: string,
  { onBytes, signal }: SaveOptions,
  hash?: Hash,
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
