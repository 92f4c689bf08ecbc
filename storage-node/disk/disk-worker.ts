/**
 * The thread that makes many short file calls of one device in a row: out of the way of the event loop,
 * and without a turn in the pool of file threads for each of them.
 */
import {
  closeSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { errnoOf, hasErrno } from './errno.ts'

/** A file call and its arguments; paths are absolute. */
export type Call =
  /**
   * Makes a file that was not there, with these bytes. Nothing but a regular file may be at `place`:
   * EISDIR, ELOOP.
   */
  | readonly ['create', path: string, bytes: Uint8Array, place?: string | undefined]
  | readonly ['link', from: string, to: string]
  | readonly ['rename', from: string, to: string]
  | readonly ['unlink', path: string]
  /** Removes what has come of a file in parts, and the file; false: it is none, and stays. */
  | readonly ['remove', parts: string, path: string]
  /** Sizes and times of change (milliseconds) of what is in a directory; size -1: no regular file. */
  | readonly ['stat', directory: string, names: readonly string[]]

export interface Created {
  readonly fd: number
  /** Number of its file system. */
  readonly dev: number
  /** A file is at its place. */
  readonly replaces: boolean
}

export interface Stated {
  readonly sizes: Float64Array
  readonly times: Float64Array
}

/** Calls to make one after the other, whatever becomes of each. */
export interface CallGroup {
  readonly id: number
  readonly calls: readonly Call[]
}

export type CallResult =
  { readonly value: unknown } | { readonly code: string; readonly message: string }

export interface GroupResult {
  readonly id: number
  readonly results: readonly CallResult[]
}

parentPort?.on('message', ({ id, calls }: CallGroup) => {
  const answer: GroupResult = { id, results: calls.map(attempt) }
  parentPort?.postMessage(answer)
})

function attempt(call: Call): CallResult {
  try {
    return { value: make(call) }
  } catch (err) {
    return { code: errnoOf(err) || 'EIO', message: (err as Error).message }
  }
}

function make(call: Call): Created | Stated | boolean | void {
  switch (call[0]) {
    case 'create':
      return create(call[1], call[2], call[3])
    case 'link':
      return linkSync(call[1], call[2])
    case 'rename':
      return renameSync(call[1], call[2])
    case 'unlink':
      return unlinkSync(call[1])
    case 'remove':
      return remove(call[1], call[2])
    case 'stat':
      return stat(call[1], call[2])
  }
}

function create(path: string, bytes: Uint8Array, place?: string): Created {
  const replaces = place !== undefined && isFile(place)
  const fd = openSync(path, 'wx+', 0o644)
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at)
    return { fd, dev: fstatSync(fd).dev, replaces }
  } catch (err) {
    closeSync(fd)
    unlinkSync(path)
    throw err
  }
}

function isFile(place: string): boolean {
  const found = lstatSync(place, { throwIfNoEntry: false })
  if (!found || found.isFile()) return found !== undefined
  const code = found.isDirectory() ? 'EISDIR' : 'ELOOP'
  throw Object.assign(new Error(`${code}: no regular file, '${place}'`), { code })
}

function remove(parts: string, path: string): boolean {
  try {
    unlinkSync(parts)
  } catch (err) {
    if (!hasErrno(err, 'ENOENT')) throw err
  }
  if (!lstatSync(path).isFile()) return false
  unlinkSync(path)
  return true
}

function stat(directory: string, names: readonly string[]): Stated {
  const sizes = new Float64Array(names.length).fill(-1)
  const times = new Float64Array(names.length)
  for (const [i, name] of names.entries()) {
    const found = lstatSync(join(directory, name), { throwIfNoEntry: false })
    if (!found?.isFile()) continue
    sizes[i] = found.size
    times[i] = found.mtimeMs
  }
  return { sizes, times }
}
