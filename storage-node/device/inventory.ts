/** What lies on a device, streamed. */
import { join } from 'node:path'
import { parseReplicaPath } from '../../common/layout.ts'
import { hasErrno } from '../disk/errno.ts'
import type { Disk } from '../disk/disk.ts'

/** A stored file. */
export interface StoredFile {
  readonly fid: number
  /** Relative to the device's directory. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly modifiedAt: Date
}

/**
 * The replicas on a device in the order of their paths, which is that of the fids as long as these
 * have ten digits; from behind the place of `after` on, whether that is there or not. What is not a
 * replica's name, or not a regular file, is left out. Throws what the system says.
 */
export async function* listFiles(
  disk: Disk,
  directory: string,
  after: number | undefined,
): AsyncGenerator<StoredFile, void, undefined> {
  const from = after === undefined ? undefined : digitsOf(after)
  const isBefore = (name: string, start: number, end: number): boolean =>
    from !== undefined && name < from.slice(start, end)
  for (const b of await names(disk, directory, /^\d$/)) {
    if (isBefore(b, 0, 1)) continue
    for (const mmm of await names(disk, join(directory, b), /^\d{3}$/)) {
      if (isBefore(b + mmm, 0, 4)) continue
      for (const ttt of await names(disk, join(directory, b, mmm), /^\d{3}$/)) {
        if (isBefore(b + mmm + ttt, 0, 7)) continue
        const below = `${b}/${mmm}/${ttt}`
        yield* listDirectory(disk, directory, below, from)
      }
    }
  }
}

/** Files looked at in one turn. */
const chunk = 64

const digitsOf = (fid: number): string => String(fid).padStart(10, '0')

/** Within a directory: shorter numbers first, then by their digits. */
const isBehind = (a: string, b: string): boolean =>
  a.length === b.length ? a > b : a.length > b.length

async function* listDirectory(
  disk: Disk,
  directory: string,
  below: string,
  from: string | undefined,
): AsyncGenerator<StoredFile, void, undefined> {
  const resumed = from?.slice(0, 7) === below.replaceAll('/', '')
  const fids = (await names(disk, join(directory, below), /^\d{10,}\.fid$/))
    .map(name => name.slice(0, -4))
    .filter(digits => !resumed || isBehind(digits, from ?? ''))
    .sort((a, b) => (isBehind(a, b) ? 1 : -1))
  for (let at = 0; at < fids.length; at += chunk) {
    const some = fids.slice(at, at + chunk)
    const stated = await disk.statAll(
      join(directory, below),
      some.map(digits => `${digits}.fid`),
    )
    for (const [i, digits] of some.entries()) {
      const path = `${below}/${digits}.fid`
      const fid = parseReplicaPath(`/dev1/${path}`)?.fid
      const size = stated.sizes[i] ?? -1
      if (fid === undefined || size < 0) continue
      yield { fid, path, size, modifiedAt: new Date(stated.times[i] ?? 0) }
    }
  }
}

async function names(disk: Disk, directory: string, pattern: RegExp): Promise<string[]> {
  const found = (await disk.readdir(directory).catch(absent)) ?? []
  return found.filter(name => pattern.test(name)).sort()
}

/** Files and directories may go while we look. */
function absent(err: unknown): undefined {
  if (!hasErrno(err, 'ENOENT', 'ENOTDIR')) throw err
}
