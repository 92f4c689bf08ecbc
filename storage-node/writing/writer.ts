/**
 * How a file gets onto a device: beside its place, checked, flushed, then named, and the name
 * flushed. A crash at any step leaves the old file, the new one, or a temporary one that is swept.
 */
import { randomBytes } from 'node:crypto'
import { fstatSync, type Stats } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { CodedError } from '../../common/errors.ts'
import { digestWhole, writeBody, type Body, type StoredDigests, type Written } from './body.ts'
import { agree, type Algorithm, type Digests } from '../digests/digests.ts'
import type { Created, Disk, NameCalls } from '../disk/disk.ts'
import { hasErrno } from '../disk/errno.ts'
import { pausePoint } from './pause.ts'
import type { DirectoryTree } from '../disk/tree.ts'

export interface WriteOptions {
  /** Bytes that must come; undefined where the sender does not say. */
  readonly size: number | undefined
  /** Digests that the bytes must have. */
  readonly expected?: Digests | undefined
  /** Digests to take beside SHA-256 and those expected. */
  readonly algorithms?: readonly Algorithm[] | undefined
  /** Other bytes under this name may be replaced; else they stay, and fid_exists is thrown. */
  readonly replace: boolean
  /** Bytes to collect before a write; asked again for every chunk. */
  readonly pieceSize: () => number
  /** All of the body, where it is there: it is written together with other such files. */
  readonly whole?: Buffer | undefined
}

export interface PublishOptions {
  readonly replace: boolean
  readonly written: Written
  /** How names are changed; each by itself. */
  readonly calls?: NameCalls
}

export interface WriterOptions {
  readonly devid: number
  readonly directory: string
  /** Number of the file system that the device was found on. */
  readonly fileSystem: number
  /** On a file system of this machine closing a file writes nothing. */
  readonly isLocal: boolean
  readonly disk: Disk
  readonly tree: DirectoryTree
  readonly fsync: boolean
  /** SHA-256 and other digests of a file of ours, by its absolute path. */
  readonly digest: (path: string, algorithms: readonly Algorithm[]) => Promise<StoredDigests>
  /** True when something could not be written or flushed before. */
  readonly hasFailed: () => boolean
}

/**
 * Uploads are written into this directory of the device: the same file system, never served, and
 * short to look through for what a crash left behind.
 */
export const tempDirectory = '.tmp'

export class Writer {
  readonly disk: Disk
  readonly tree: DirectoryTree
  readonly fsync: boolean
  readonly #options: WriterOptions
  readonly #prefix = randomBytes(9).toString('hex')
  #count = 0

  constructor(options: WriterOptions) {
    this.#options = options
    this.disk = options.disk
    this.tree = options.tree
    this.fsync = options.fsync
  }

  /**
   * Stores `body` under `path`, all of it or nothing, and returns once it is on disk. The very bytes
   * that are there already are stored again without a change. Throws checksum_mismatch,
   * size_mismatch, fid_exists, not_regular, bad_path, device_not_mounted, device_failed, and what the
   * system says.
   */
  async write(path: string, body: Body, options: WriteOptions): Promise<Written> {
    const { disk, isLocal } = this.#options
    const { replace, whole } = options
    if (replace && !whole) await this.checkPlace(path)
    else await this.#checkParent(path)
    const place = replace ? this.placeOf(path) : undefined
    const temp = await this.createTemp(path, whole && { bytes: whole, place })
    let named = false
    try {
      const written = await this.fill(temp.fd, body, options)
      await pausePoint('put: flushed')
      // To replace a file ext4 writes the new one first, for which others need not wait.
      const calls = whole && !temp.replaces ? disk.together : disk
      named = await this.publish(temp.file, path, { replace, written, calls })
      return written
    } finally {
      // The last descriptor of a file without a name frees its blocks, which may take long.
      if (named && isLocal) disk.closeNow(temp.fd)
      else disk.close(temp.fd)
      // What stays is swept.
      if (!named) await disk.unlink(temp.file).catch(() => {})
    }
  }

  /** True when something could not be written or flushed before. */
  get hasFailed(): boolean {
    return this.#options.hasFailed()
  }

  /** SHA-256 of a file of ours, by its absolute path, and the digests that `options` want. */
  digest(
    file: string,
    { expected = {}, algorithms = [] }: Pick<WriteOptions, 'expected' | 'algorithms'> = {},
  ): Promise<StoredDigests> {
    return this.#options.digest(file, [...algorithms, ...(Object.keys(expected) as Algorithm[])])
  }

  /** The absolute path of what is served as `path`. */
  placeOf(path: string): string {
    return join(this.#options.directory, path)
  }

  /** What is at `path`, if anything. Throws unless a regular file may be there. */
  async checkPlace(path: string): Promise<Stats | undefined> {
    try {
      await this.#options.tree.checkPlain(dirname(path))
      const found = await this.#options.disk.lstat(this.placeOf(path))
      if (found.isDirectory()) throw new CodedError('bad_path', 'a directory is in this place')
      if (!found.isFile()) throw new CodedError('not_regular', 'only regular files are served')
      return found
    } catch (err) {
      if (hasErrno(err, 'ENOENT')) return undefined
      throw err
    }
  }

  async #checkParent(path: string): Promise<void> {
    try {
      await this.#options.tree.checkPlain(dirname(path))
    } catch (err) {
      if (!hasErrno(err, 'ENOENT')) throw err
    }
  }

  /** The absolute path of a file beside those that are served. */
  tempFile(name: string): string {
    return join(this.#options.directory, tempDirectory, name)
  }

  /**
   * Makes a file for bytes that have no name yet, with `whole` in it, unless something other than a
   * file is at its place; whoever asked removes it.
   */
  async createTemp(
    path: string,
    whole?: { readonly bytes: Buffer; readonly place: string | undefined },
  ): Promise<{ file: string; fd: number; replaces: boolean }> {
    // The name is for people; together with the rest it must stay below 255 bytes.
    const name = `${basename(path).slice(0, 200)}.${this.#prefix}${this.#count++}.tmp`
    const file = this.tempFile(name)
    const { disk } = this.#options
    const create = whole
      ? () => disk.create(file, whole.bytes, whole.place)
      : async () => withDevice(await disk.open(file, 'wx+', 0o644))
    const { fd, replaces } = await this.#openOurs(create)
    await pausePoint('put: created')
    return { file, fd, replaces }
  }

  /** Opens such a file on the disk that is known. Throws device_not_mounted, and what the system says. */
  async openTemp(file: string, flags: number | string): Promise<number> {
    const open = async (): Promise<Created> => withDevice(await this.disk.open(file, flags, 0o644))
    return (await this.#openOurs(open)).fd
  }

  async #openOurs(open: () => Promise<Created>): Promise<Created> {
    const { disk, tree, devid, fileSystem } = this.#options
    const created = await open().catch(async (err: unknown) => {
      if (!hasErrno(err, 'ENOENT')) throw err
      tree.forget()
      await tree.ensure(tempDirectory)
      return open()
    })
    if (created.dev === fileSystem) return created
    disk.close(created.fd)
    throw new CodedError('device_not_mounted', `the disk of dev${devid} is not mounted`)
  }

  /** Writes, checks and flushes all of `body`. Throws what `write` throws before it names the file. */
  async fill(fd: number, body: Body, options: WriteOptions): Promise<Written> {
    const { size: wanted, expected = {}, algorithms: asked = [], pieceSize, whole } = options
    const algorithms = [...new Set([...asked, ...(Object.keys(expected) as Algorithm[])])]
    const written = whole
      ? digestWhole(whole, algorithms)
      : await writeBody(this.#options.disk, fd, body, { size: wanted, pieceSize, algorithms })
    if (wanted !== undefined && written.size !== wanted) {
      throw new CodedError('size_mismatch', `${written.size} bytes came, not ${wanted}`)
    }
    if (!agree(written.digests, expected)) {
      throw new CodedError('checksum_mismatch', 'the bytes are not those that were announced')
    }
    await pausePoint('put: written')
    if (this.#options.fsync) await this.flush(fd)
    return written
  }

  /**
   * Throws device_failed, and that is final: the kernel may have dropped what it could not write, and
   * a second try would report success for bytes that are gone.
   */
  async flush(fd: number): Promise<void> {
    const { disk, devid } = this.#options
    try {
      await disk.datasync(fd)
    } catch (cause) {
      if (hasErrno(cause, 'ENOSPC', 'EDQUOT')) throw cause
      throw new CodedError('device_failed', `dev${devid} has failed`, { cause })
    }
  }

  /** Gives the file its name, durably. False: the same bytes had it already. */
  async publish(
    temp: string,
    path: string,
    { replace, written, calls = this.disk }: PublishOptions,
  ): Promise<boolean> {
    const { tree } = this.#options
    const file = this.placeOf(path)
    const name = async (): Promise<void> => {
      await tree.ensure(dirname(path))
      // A link fails where a rename would replace: of two that write a fid at once, one wins.
      await (replace ? calls.rename(temp, file) : calls.link(temp, file))
    }
    let named = true
    try {
      await name().catch((err: unknown) => {
        if (!hasErrno(err, 'ENOENT')) throw err
        // Someone removed directories that we took for granted.
        tree.forget()
        return name()
      })
    } catch (err) {
      if (!hasErrno(err, 'EEXIST')) throw err
      if (!(await this.#holds(path, written))) {
        throw fidExists()
      }
      // A name that could not be flushed may never get to the disk, whatever the next flush says; one
      // that is given anew does.
      named = this.hasFailed
      if (named) await calls.rename(temp, file)
    }
    await pausePoint('put: named')
    // A link leaves the temporary name, which goes while the directory is flushed; if not, it is swept.
    const dropped = named && !replace ? calls.unlink(temp).catch(() => {}) : undefined
    await tree.flush(dirname(path))
    await dropped
    await pausePoint('put: name flushed')
    return named
  }

  async #holds(path: string, { size, digests }: Written): Promise<boolean> {
    const found = await this.checkPlace(path)
    if (found?.size !== size) return false
    const { sha256 } = await this.digest(this.placeOf(path))
    return sha256.equals(digests.sha256)
  }
}

const withDevice = (fd: number): Created => ({ fd, dev: fstatSync(fd).dev, replaces: false })

/** What is there under a fid has other bytes. */
export const fidExists = (): CodedError =>
  new CodedError('fid_exists', 'other bytes are stored under this fid')

/** For what may be gone already. */
export function ignoreAbsent(err: unknown): void {
  if (!hasErrno(err, 'ENOENT')) throw err
}
