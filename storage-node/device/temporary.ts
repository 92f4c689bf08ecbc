/** Files of a device beside those that are served: what uploads leave behind, and tests of the disk. */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { CodedError } from '../../common/errors.ts'
import type { Disk } from '../disk/disk.ts'
import { hasErrno } from '../disk/errno.ts'
import { partSuffix } from '../writing/part-file.ts'
import { ignoreAbsent, tempDirectory } from '../writing/writer.ts'
import type { DirectoryTree } from '../disk/tree.ts'

/** The disk and the directory of a device. */
export interface Place {
  readonly disk: Disk
  readonly directory: string
}

/** Milliseconds that parts of an unfinished file stay, across starts; the next sweep is an hour later. */
const partAgeMs = 23 * 3600_000

/** Bytes that are written to see whether that can be done. */
const testBytes = 4096

/**
 * Removes temporary files not written to for `ageMs`, parts of files within a day; returns how many.
 * Throws what the system says.
 */
export function sweepTemporary(place: Place, ageMs: number): Promise<number> {
  return removeTemporary(place, (name, sinceMs) =>
    name.endsWith(partSuffix) ? sinceMs >= Math.max(ageMs, partAgeMs) : sinceMs >= ageMs,
  )
}

/** Removes what has come of files in parts. Throws what the system says. */
export async function dropParts(place: Place): Promise<void> {
  await removeTemporary(place, name => name.endsWith(partSuffix))
}

/**
 * Writes a file, flushes it and its name, reads it, and removes it: each time a new one, since what a
 * flush says of a file that could not be written before means nothing. Throws device_failed when it
 * cannot be read, and what the system says.
 */
export async function tryWriting(
  { disk, directory }: Place,
  tree: DirectoryTree,
  fsync: boolean,
): Promise<void> {
  await tree.ensure(tempDirectory)
  const name = `test-${randomBytes(9).toString('hex')}.tmp`
  const file = join(directory, tempDirectory, name)
  const bytes = randomBytes(testBytes)
  const fd = await disk.open(file, 'wx+', 0o644)
  try {
    await disk.write(fd, [bytes], 0)
    if (fsync) await disk.datasync(fd)
    await tree.flush(tempDirectory)
    await checkHolds(disk, fd, bytes)
  } finally {
    disk.close(fd)
    await disk.unlink(file).catch(() => {}) // what stays is swept
  }
}

async function checkHolds(disk: Disk, fd: number, bytes: Buffer): Promise<void> {
  const read = Buffer.alloc(bytes.length)
  let cause: unknown
  await disk.read(fd, read, { length: read.length, position: 0 }).catch((err: unknown) => {
    cause = err
  })
  if (read.equals(bytes)) return
  throw new CodedError('device_failed', 'what was written cannot be read', { cause })
}

/** `isOld` is given the milliseconds since the last write to it. */
async function removeTemporary(
  { disk, directory }: Place,
  isOld: (name: string, sinceMs: number) => boolean,
): Promise<number> {
  const below = join(directory, tempDirectory)
  let removed = 0
  for (const name of await namesIn(disk, below)) {
    const file = join(below, name)
    const found = await disk.lstat(file).catch(() => undefined)
    if (!found?.isFile() || !isOld(name, Date.now() - found.mtimeMs)) continue
    await disk.unlink(file).catch(ignoreAbsent)
    removed++
  }
  return removed
}

async function namesIn(disk: Disk, directory: string): Promise<string[]> {
  try {
    // Through a link the sweep would remove what is not ours.
    const fd = await disk.open(directory, constants.O_DIRECTORY | constants.O_NOFOLLOW)
    disk.close(fd)
    return await disk.readdir(directory)
  } catch (err) {
    if (hasErrno(err, 'ENOENT')) return []
    throw err
  }
}
