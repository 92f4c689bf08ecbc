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

/** A path's bytes as a text of Latin-1, since names of files may be any bytes. */
const resolve = (path: string | Buffer): Promise<string> => realpath(path, 'latin1')

/** The roots, as they are once links are resolved; those that do not exist are left out. */
async function resolveRoots(roots: readonly string[]): Promise<string[]> {
  const found = await Promise.all(roots.map(root => resolve(root).catch(() => undefined)))
  return found.filter(root => root !== undefined)
}

/**
 * Opens `path`, the bytes of a field's value as Latin-1; undefined when there is no regular file below
 * one of `roots`. Links are resolved first, and what is then opened must be the file that was found,
 * so that swapping a link in between leads nowhere.
 */
export async function openLocal(
  path: string,
  roots: readonly string[],
): Promise<LocalFile | undefined> {
  if (!isAbsolute(path) || path.includes('\0')) return undefined
  let handle: FileHandle | undefined
  try {
    const real = await resolve(Buffer.from(path, 'latin1'))
    if (!isBelow(real, await resolveRoots(roots))) return undefined
    const name = Buffer.from(real, 'latin1')
    // Without O_NONBLOCK, opening a pipe would wait for its other side.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    handle = await open(name, flags)
    const opened = await handle.stat()
    if (!opened.isFile() || (await resolve(name)) !== real) throw new Error('not a regular file')
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
