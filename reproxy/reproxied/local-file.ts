/** Files of this machine that an application names by path: only regular ones below the roots. */
import { constants } from 'node:fs'
import { open, realpath, type FileHandle } from 'node:fs/promises'
import { isAbsolute, sep } from 'node:path'
import type { KnownFile } from './known-file.ts'

export interface LocalFile extends KnownFile {
  close(): Promise<void>
}

/** Bytes read at a time. */
const pieceBytes = 65_536

/** The roots, as they are once links are resolved; those that do not exist are left out. */
export async function resolveRoots(roots: readonly string[]): Promise<string[]> {
  const found = await Promise.all(roots.map(root => realpath(root).catch(() => undefined)))
  return found.filter(root => root !== undefined)
}

/**
 * Opens `path`; undefined when there is no regular file below one of `roots`. Links are resolved
 * first, and what is then opened must be the file that was found, so that swapping a link in between
 * leads nowhere.
 */
export async function openLocal(
  path: string,
  roots: readonly string[],
): Promise<LocalFile | undefined> {
  if (!isAbsolute(path) || path.includes('\0')) return undefined
  let handle: FileHandle | undefined
  try {
    const real = await realpath(path)
    if (!isBelow(real, await resolveRoots(roots))) return undefined
    // Without O_NONBLOCK, opening a pipe would wait for its other side.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    handle = await open(real, flags)
    const opened = await handle.stat()
    if (!opened.isFile() || (await realpath(real)) !== real) throw new Error('not a regular file')
    return localFile(handle, opened.size)
  } catch {
    await handle?.close()
    return undefined
  }
}

const isBelow = (path: string, roots: readonly string[]): boolean =>
  roots.some(root => path.startsWith(root.endsWith(sep) ? root : root + sep))

function localFile(handle: FileHandle, size: number): LocalFile {
  return {
    size,
    async send({ first, last }, sink) {
      for (let at = first; at <= last;) {
        const piece = Buffer.allocUnsafe(Math.min(pieceBytes, last - at + 1))
        const { bytesRead } = await handle.read(piece, 0, piece.length, at)
        if (bytesRead === 0) return false // it became shorter
        await sink.write(piece.subarray(0, bytesRead))
        at += bytesRead
      }
      return true
    },
    close: () => handle.close(),
  }
}
