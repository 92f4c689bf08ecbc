/**
 * One device: plain files in a directory tree. A file appears under its name when all of it is on
 * disk, and a name that was acknowledged survives a power cut.
 */
import { createHash, randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import {
  link,
  lstat,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  unlink,
  type FileHandle,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CodedError, isCoded } from '../common/errors.ts'
import type { Logger } from '../common/log.ts'
import { writeChunks } from './body.ts'
import { explain, hasErrno } from './errno.ts'
import { DirectoryTree, flush, flushDirectory } from './tree.ts'
import { readUsage, type Usage } from './usage.ts'

export interface DeviceLocation {
  readonly devid: number
  /** Absolute, without symbolic links. */
  readonly directory: string
  /** Number of the file system on which it was found (`st_dev`). */
  readonly disk: number
}

export interface WriteOptions {
  /** Bytes that must come; undefined where the sender does not say. */
  readonly size: number | undefined
  /** The MD5 that the bytes must have. */
  readonly md5: Buffer | undefined
  /** Other bytes under this name may be replaced; else they stay, and fid_exists is thrown. */
  readonly replace: boolean
  /** Bytes to collect before a write; asked again for every chunk. */
  readonly pieceSize: () => number
}

export interface Written {
  readonly size: number
  readonly sha256: Buffer
}

/** An open file. The caller closes `handle`. */
export interface OpenFile {
  readonly handle: FileHandle
  readonly size: number
  readonly modifiedAt: Date
}

interface Temp {
  readonly file: string
  readonly handle: FileHandle
}

/**
 * Uploads are written into this directory of the device: the same file system, never served, and
 * short to look through for what a crash left behind.
 */
const tempDirectory = '.tmp'

const usageFreshMs = 1_000

export class Device {
  readonly devid: number
  readonly #directory: string
  readonly #disk: number
  readonly #log: Logger
  #failed = false
  #usage: { value: Usage; readAt: number } | undefined
  readonly #tree: DirectoryTree

  constructor({ devid, directory, disk }: DeviceLocation, log: Logger) {
    this.devid = devid
    this.#directory = directory
    this.#disk = disk
    this.#log = log.child({ devid })
    this.#tree = new DirectoryTree({ devid, directory }, () => this.checkMounted())
  }

  /** Throws no_such_device or device_not_mounted unless the disk we know is still in its place. */
  async checkMounted(): Promise<void> {
    let found: Stats
    try {
      found = await stat(this.#directory)
    } catch (err) {
      if (!hasErrno(err, 'ENOENT', 'ENOTDIR')) throw explain(err, this.devid)
      throw new CodedError('no_such_device', `no device dev${this.devid} here`)
    }
    if (found.dev !== this.#disk) {
      throw new CodedError('device_not_mounted', `the disk of dev${this.devid} is not mounted`)
    }
  }

  /** How full the device is, at most a second old. */
  async usage(): Promise<Usage> {
    const now = performance.now()
    if (this.#usage && now - this.#usage.readAt < usageFreshMs) return this.#usage.value
    const value = await readUsage(this.#directory)
    this.#usage = { value, readAt: now }
    return value
  }

  /** Throws device_failed, or insufficient_storage when there is no room for `size` bytes. */
  async checkWritable(size: number | undefined): Promise<void> {
    this.#checkFailed()
    if (size === undefined || size === 0) return
    if (size > (await this.usage()).available * 1024) {
      throw new CodedError('insufficient_storage', `dev${this.devid} has no room for ${size} bytes`)
    }
  }

  /** Opens a file for reading. Throws not_found, or not_regular for anything but a regular file. */
  async open(path: string): Promise<OpenFile> {
    const file = join(this.#directory, path)
    let handle: FileHandle | undefined
    try {
      await this.#checkParent(path)
      // Without O_NONBLOCK the opening of a FIFO would wait for its writer.
      handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const found = await handle.stat()
      if (!found.isFile()) throw notRegular()
      return { handle, size: found.size, modifiedAt: found.mtime }
    } catch (err) {
      await handle?.close()
      if (hasErrno(err, 'ENOENT', 'ENOTDIR')) throw notFound()
      throw explain(err, this.devid)
    }
  }

  /**
   * Stores `body` under `path`, all of it or nothing, and returns once it is on disk. The very
   * bytes that are there already are stored again without a change. Throws checksum_mismatch,
   * size_mismatch, fid_exists, insufficient_storage, device_readonly, device_failed, not_regular,
   * bad_path.
   */
  async write(path: string, body: AsyncIterable<Buffer>, options: WriteOptions): Promise<Written> {
    let temp: Temp | undefined
    try {
      const existing = await this.#checkPlace(path)
      if (existing && !options.replace && existing.size !== (options.size ?? existing.size)) {
        throw fidExists()
      }
      temp = await this.#createTemp(path)
      const written = await this.#fill(temp.handle, body, options)
      await this.#publish(temp.file, path, options.replace, written)
      return written
    } catch (err) {
      throw this.#failure(err)
    } finally {
      if (temp) await this.#discard(temp.file)
    }
  }

  /** Removes a file for good. Throws not_found, bad_path for a directory, not_regular, device_failed. */
  async remove(path: string): Promise<void> {
    this.#checkFailed()
    try {
      if (!(await this.#checkPlace(path))) throw notFound()
      const file = join(this.#directory, path)
      await unlink(file)
      await flushDirectory(dirname(file), this.devid)
    } catch (err) {
      if (hasErrno(err, 'ENOENT', 'ENOTDIR')) throw notFound()
      throw this.#failure(err)
    }
  }

  /** Removes temporary files not written to for `ageMs`; returns how many. */
  async sweep(ageMs: number): Promise<number> {
    const directory = join(this.#directory, tempDirectory)
    let names: string[]
    try {
      if (!(await lstat(directory)).isDirectory()) return 0
      names = await readdir(directory)
    } catch (err) {
      if (hasErrno(err, 'ENOENT')) return 0
      throw err
    }
    let removed = 0
    for (const name of names) {
      const file = join(directory, name)
      const found = await lstat(file).catch(() => undefined)
      if (!found?.isFile() || Date.now() - found.mtimeMs < ageMs) continue
      await rm(file, { force: true })
      removed++
    }
    return removed
  }

  /** What is at `path`, if anything. Throws unless a regular file may be there. */
  async #checkPlace(path: string): Promise<Stats | undefined> {
    try {
      await this.#checkParent(path)
      const found = await lstat(join(this.#directory, path))
      if (found.isDirectory()) throw new CodedError('bad_path', 'a directory is in this place')
      if (!found.isFile()) throw notRegular()
      return found
    } catch (err) {
      if (hasErrno(err, 'ENOENT')) return undefined
      throw err
    }
  }

  /** Throws not_regular when the way to `path` leads through a symbolic link. */
  async #checkParent(path: string): Promise<void> {
    const parent = join(this.#directory, dirname(path))
    if ((await realpath(parent)) !== parent) throw notRegular()
  }

  async #createTemp(path: string): Promise<Temp> {
    // The name is for people; together with the rest it must stay below 255 bytes.
    const name = `${basename(path).slice(0, 200)}.${randomBytes(9).toString('hex')}.tmp`
    const file = join(this.#directory, tempDirectory, name)
    try {
      return { file, handle: await open(file, 'wx', 0o644) }
    } catch (err) {
      if (!hasErrno(err, 'ENOENT')) throw err
    }
    this.#tree.forget()
    await this.#tree.ensure(tempDirectory)
    return { file, handle: await open(file, 'wx', 0o644) }
  }

  async #discard(temp: string): Promise<void> {
    await rm(temp, { force: true }).catch((err: unknown) => {
      this.#log.warn({ err }, 'temporary file stays')
    })
  }

  /** Writes and flushes all of `body`, and closes `handle`. */
  async #fill(
    handle: FileHandle,
    body: AsyncIterable<Buffer>,
    options: WriteOptions,
  ): Promise<Written> {
    try {
      const sha256 = createHash('sha256')
      const md5 = options.md5 && createHash('md5')
      const size = await writeChunks(handle, body, options.pieceSize, chunk => {
        sha256.update(chunk)
        md5?.update(chunk)
      })
      if (options.size !== undefined && size !== options.size) {
        throw new CodedError('size_mismatch', `${size} bytes came, not ${options.size}`)
      }
      if (options.md5 && !md5?.digest().equals(options.md5)) {
        throw new CodedError('checksum_mismatch', 'the bytes are not those of Content-MD5')
      }
      await flush(handle, this.devid)
      return { size, sha256: sha256.digest() }
    } finally {
      await handle.close()
    }
  }

  /** Gives the file its name, durably. */
  async #publish(temp: string, path: string, replace: boolean, written: Written): Promise<void> {
    const file = join(this.#directory, path)
    const name = async (): Promise<void> => {
      await this.#tree.ensure(dirname(path))
      // A link fails where a rename would replace: of two that write a fid at once, one wins.
      await (replace ? rename(temp, file) : link(temp, file))
    }
    try {
      await name().catch((err: unknown) => {
        if (!hasErrno(err, 'ENOENT')) throw err
        // Someone removed directories that we took for granted.
        this.#tree.forget()
        return name()
      })
    } catch (err) {
      if (!hasErrno(err, 'EEXIST')) throw err
      if (!(await this.#holds(path, written))) throw fidExists()
    }
    await flushDirectory(dirname(file), this.devid)
  }

  async #holds(path: string, { size, sha256 }: Written): Promise<boolean> {
    const file = await this.open(path)
    try {
      if (file.size !== size) return false
      const hash = createHash('sha256')
      for await (const chunk of file.handle.createReadStream({ autoClose: false })) {
        hash.update(chunk as Buffer)
      }
      return hash.digest().equals(sha256)
    } finally {
      await file.handle.close()
    }
  }

  #checkFailed(): void {
    if (this.#failed) throw new CodedError('device_failed', `dev${this.devid} has failed`)
  }

  #fail(err: unknown): void {
    if (!this.#failed) this.#log.error({ err }, 'device failed: read-only until the next start')
    this.#failed = true
  }

  #failure(err: unknown): unknown {
    const failure = explain(err, this.devid)
    if (isCoded(failure, 'device_failed')) this.#fail(err)
    return failure
  }
}

const notFound = (): CodedError => new CodedError('not_found', 'no such file')
const notRegular = (): CodedError => new CodedError('not_regular', 'only regular files are served')
const fidExists = (): CodedError =>
  new CodedError('fid_exists', 'other bytes are stored under this fid')
