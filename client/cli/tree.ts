/** Local folders and folders of the cluster: walking both in the same order, and comparing files. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { FileEntry } from '../entries.ts'
import type { Client } from '../index.ts'
import type { Output } from './output.ts'

/** A regular file below a folder. */
export interface LocalFile {
  readonly path: string
  /** Its path relative to the folder, with slashes. */
  readonly name: string
  readonly size: number
}

/** A file of the cluster below a prefix. */
export interface RemoteFile {
  readonly file: FileEntry
  /** Its key without the prefix. When the key is not UTF-8, only an approximation. */
  readonly name: string
}

/** Called for each file that is left out, with the reason. */
export type OnSkip = (path: string, why: string) => void

/** Prints what is left out, and remembers whether anything was. */
export function createSkips(out: Output): { readonly onSkip: OnSkip; readonly any: boolean } {
  let any = false
  return {
    onSkip(path, why) {
      any = true
      out.note(`${path} is left out: ${why}`)
    },
    get any() {
      return any
    },
  }
}

/** Counts files and adds up their sizes. */
export async function measure(
  files: AsyncIterable<{ readonly size: number | undefined }>,
): Promise<{ count: number; total: number }> {
  let count = 0
  let total = 0
  for await (const { size = 0 } of files) {
    count++
    total += size
  }
  return { count, total }
}

/** True for the temporary name of a download that is not complete. Such files are never stored. */
const isPart = (name: string): boolean => /^\.omg-.*\.part$/.test(name)

/**
 * The regular files below `folder`, in byte order of their names, which is the order of keys too. Links to
 * files count as files. What cannot be stored is passed to `onSkip`: links to folders (they could form
 * circles), sockets, names that are not UTF-8.
 */
export async function* walk(
  folder: string,
  { onSkip, signal }: { onSkip: OnSkip; signal: AbortSignal },
): AsyncGenerator<LocalFile> {
  async function* below(path: string, prefix: string): AsyncGenerator<LocalFile> {
    signal.throwIfAborted()
    const entries = (await readdir(path, { withFileTypes: true })).map(entry => ({
      entry,
      // The slash puts a folder where the keys of the files in it are.
      at: Buffer.from(entry.isDirectory() ? `${entry.name}/` : entry.name),
    }))
    for (const { entry } of entries.sort((a, b) => Buffer.compare(a.at, b.at))) {
      const { name } = entry
      const child = join(path, name)
      if (name.includes('\ufffd')) onSkip(child, 'its name is not UTF-8')
      else if (entry.isDirectory()) yield* below(child, `${prefix}${name}/`)
      else if (isPart(name)) continue
      else {
        const found = await stat(child).catch((err: unknown) => {
          if (entry.isSymbolicLink()) return undefined
          throw err
        })
        if (found?.isFile()) yield { path: child, name: prefix + name, size: found.size }
        else onSkip(child, describe(found?.isDirectory()))
      }
    }
  }
  yield* below(folder, '')
}

const describe = (isDirectory: boolean | undefined): string => {
  if (isDirectory === undefined) return 'a link to nothing'
  return isDirectory ? 'a link to a folder' : 'not a regular file'
}

/** The files below `prefix`, in the byte order of their keys. */
export async function* listBelow(
  files: Client,
  { prefix, signal }: { prefix: string; signal: AbortSignal },
): AsyncGenerator<RemoteFile> {
  for await (const file of files.list({ prefix, signal })) {
    yield { file, name: file.key.slice(prefix.length) }
  }
}

/**
 * Merges two sequences in byte order of their names into pairs of the same name; a side that lacks the
 * name is absent. Holds only one element of each in memory.
 */
export async function* pair<L extends { name: string }, R extends { name: string }>(
  left: AsyncIterable<L>,
  right: AsyncIterable<R>,
): AsyncGenerator<{ readonly left?: L; readonly right?: R }> {
  const lefts = left[Symbol.asyncIterator]()
  const rights = right[Symbol.asyncIterator]()
  try {
    let [l, r] = await Promise.all([lefts.next(), rights.next()])
    while (!l.done || !r.done) {
      const order = l.done ? 1 : r.done ? -1 : compareNames(l.value.name, r.value.name)
      yield {
        ...(order <= 0 && !l.done && { left: l.value }),
        ...(order >= 0 && !r.done && { right: r.value }),
      }
      ;[l, r] = await Promise.all([order <= 0 ? lefts.next() : l, order >= 0 ? rights.next() : r])
    }
  } finally {
    await Promise.all([lefts.return?.(), rights.return?.()])
  }
}

const compareNames = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b))

/** True when the file at `path` has the given size and SHA-256; false when the SHA-256 is not known. */
export async function hasContent(
  path: string,
  { size, sha256 }: Pick<FileEntry, 'size' | 'sha256'>,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  if (!found?.isFile() || found.size !== size || sha256 === undefined) return false
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), hash, { signal })
  return hash.digest('hex') === sha256
}

/**
 * The path below `folder` for a file of the cluster, or why it cannot have one: its name must not lead
 * out of the folder, and two names must not end up at the same path.
 */
export function pathFor(
  folder: string,
  { file, name }: RemoteFile,
): { readonly path: string } | { readonly why: string } {
  if (file.keyBytes !== undefined) return { why: 'its key is not UTF-8' }
  if (name.includes('\0')) return { why: 'its key holds a NUL' }
  const parts = name.split('/')
  if (parts.some(part => part === '' || part === '.' || part === '..')) {
    return { why: 'its key is not a valid path' }
  }
  if (process.platform === 'win32' && /[<>:"\\|?*]/.test(name)) {
    return { why: 'its key is not a valid path' }
  }
  if (parts.some(part => Buffer.byteLength(part) > 255)) return { why: 'its name is too long' }
  return { path: join(folder, ...parts) }
}
