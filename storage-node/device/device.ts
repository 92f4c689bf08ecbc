/**
 * One device: plain files in a directory tree. A file appears under its name when all of it is on
 * disk, and a name that was acknowledged survives a power cut. What the disk does wrong stays here:
 * a device that fails, hangs, fills up or goes away answers with that, and nothing else does.
 */
import { basename, dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { Logger } from '../../common/log.ts'
import type { Body, StoredDigests, Written } from '../writing/body.ts'
import type { Buffers } from '../writing/buffers.ts'
import { DigestError, Digester, type FileDigests } from '../digests/digester.ts'
import type { Algorithm } from '../digests/digests.ts'
import type { Disk } from '../disk/disk.ts'
import { absentIsNotFound, explain, hasErrno, isOfCall, notFound } from '../disk/errno.ts'
import { checkIdentity, type Identity } from '../disk/identity.ts'
import { listFiles, type StoredFile } from './inventory.ts'
import type { OpenFile, OpenFiles } from '../disk/open-files.ts'
import { pausePoint } from '../writing/pause.ts'
import type { PartLocks } from '../writing/part-locks.ts'
import { PartWriter, type PartOptions } from '../writing/parts.ts'
import { sendPart } from '../http/send.ts'
import { quarantine } from '../http/target.ts'
import { dropParts, tryWriting } from './temporary.ts'
import { DirectoryTree } from '../disk/tree.ts'
import { Unreadable } from './unreadable.ts'
import { readUsage, withoutRoom, type Usage } from '../disk/usage.ts'
import { Writer, type WriteOptions } from '../writing/writer.ts'

export interface DeviceOptions {
  readonly devid: number
  readonly identity: Identity
  readonly disk: Disk
  readonly openFiles: OpenFiles
  /** False: nothing is flushed, for data that may be lost. */
  readonly fsync: boolean
  readonly log: Logger
  readonly locks: PartLocks
  /** Called when a write or a flush has failed, and the device takes no more. */
  readonly onFailed: (err: Error) => void
  /** Called with the number of a file that cannot be read. */
  readonly onUnreadable: (fid: number) => void
}

export type DeviceState = 'writeable' | 'readonly' | 'failed' | 'hung'

const usageFreshMs = 1_000
const mountFreshMs = 1_000

export class Device {
  readonly devid: number
  readonly directory: string
  readonly disk: Disk
  readonly unreadable = new Unreadable()
  readonly #options: DeviceOptions
  readonly #log: Logger
  readonly #tree: DirectoryTree
  readonly #writer: Writer
  readonly #parts: PartWriter
  /** A long reading in the background must not hold up those for which somebody waits. */
  readonly #digester = new Digester()
  readonly #patientDigester = new Digester()
  /** Of what has just been written, and lies in memory yet. */
  readonly #ownDigester = new Digester({ bytesPerSecond: Infinity })
  readonly #isLocal: boolean
  #failed = false
  #failures = 0
  #readOnly = false
  #mountedUntil = 0
  #usage: { value: Usage; readAt: number } | undefined

  constructor(options: DeviceOptions) {
    const { devid, identity, disk, fsync, locks } = options
    this.#options = options
    this.devid = devid
    this.directory = identity.directory
    this.disk = disk
    this.#isLocal = identity.isLocal
    this.#log = options.log.child({ devid })
    const { directory } = this
    const checkMounted = (): Promise<void> => this.checkMounted()
    this.#tree = new DirectoryTree({ devid, directory, disk, fsync, checkMounted })
    this.#writer = new Writer({
      devid,
      directory,
      fileSystem: identity.fileSystem,
      isLocal: identity.isLocal,
      disk,
      tree: this.#tree,
      fsync,
      digest: (file, algorithms) => this.#digestOfOurs(file, algorithms),
      hasFailed: () => this.#failures > 0,
    })
    this.#parts = new PartWriter(this.#writer, locks)
  }

  /** Number of the file system that it was found on (`st_dev`). */
  get fileSystem(): number {
    return this.#options.identity.fileSystem
  }

  /** True when it was seen in its place within the last second. */
  get fresh(): boolean {
    return performance.now() < this.#mountedUntil && !this.disk.hung
  }

  get state(): DeviceState {
    if (this.disk.hung) return 'hung'
    if (this.#failed) return 'failed'
    return this.#readOnly ? 'readonly' : 'writeable'
  }

  /** Throws no_such_device or device_not_mounted unless the disk we know is still in its place. */
  async checkMounted(): Promise<void> {
    try {
      await checkIdentity(this.devid, this.#options.identity, this.disk)
    } catch (err) {
      throw explain(err, this.devid)
    }
    this.#mountedUntil = performance.now() + mountFreshMs
  }

  /** How full the device is, at most a second old; without room while it is not writeable. */
  async usage(): Promise<Usage> {
    const now = performance.now()
    if (!this.#usage || now - this.#usage.readAt >= usageFreshMs) {
      const value = await readUsage(this.directory, this.disk).catch((err: unknown) => {
        throw explain(err, this.devid)
      })
      this.#usage = { value, readAt: now }
      this.#readOnly = value.readOnly
    }
    const { value } = this.#usage
    return this.state === 'writeable' ? value : withoutRoom(value)
  }

  /** Throws device_failed, or insufficient_storage when there is no room for `size` bytes. */
  async checkWritable(size: number | undefined): Promise<void> {
    this.#checkFailed()
    if (size === undefined || size === 0) return
    const { value } = this.#usage ?? {}
    const known = value && performance.now() - this.#usage!.readAt < usageFreshMs
    if (!known) await this.usage()
    if (size > (this.#usage?.value.available ?? 0) * 1024) {
      throw new CodedError('insufficient_storage', `dev${this.devid} has no room for ${size} bytes`)
    }
  }

  /**
   * Opens a file for reading; the caller gives it back with `release`. Throws not_found, or
   * not_regular for anything but a regular file.
   */
  async open(path: string): Promise<OpenFile> {
    try {
      await this.#tree.checkPlain(dirname(path))
      const found = await this.#options.openFiles.open(join(this.directory, path), this.disk)
      if (found === 'not a file') {
        throw new CodedError('not_regular', 'only regular files are served')
      }
      return found
    } catch (err) {
      if (hasErrno(err, 'ENOENT', 'ENOTDIR')) throw notFound()
      throw this.#cannotRead(path, err)
    }
  }

  /** What `open` would give, when that takes no waiting. */
  openNow(path: string): OpenFile | undefined {
    return this.fresh ? this.#options.openFiles.find(`${this.directory}/${path}`) : undefined
  }

  release(file: OpenFile): void {
    this.#options.openFiles.release(file)
  }

  /** Sends a part of an open file; see `sendPart`. */
  async send(
    out: Writable,
    buffers: Buffers,
    { file, start, length }: { file: OpenFile; start: number; length: number },
    begin: () => string,
  ): Promise<void> {
    const { openFiles } = this.#options
    const warm = this.#isLocal && openFiles.isWarm(file)
    const part = { disk: this.disk, fd: file.fd, start, length, warm }
    await sendPart(out, buffers, part, begin).catch((err: unknown) => {
      throw this.#cannotRead(openFiles.pathOf(file), err)
    })
    if (!warm && length === file.size) openFiles.warm(file)
  }

  /**
   * Stores `body` under `path`, all of it or nothing, and returns once it is on disk. The very
   * bytes that are there already are stored again without a change. Throws checksum_mismatch,
   * size_mismatch, fid_exists, insufficient_storage, device_readonly, device_failed,
   * device_not_mounted, not_regular, bad_path.
   */
  async write(path: string, body: Body, options: WriteOptions): Promise<Written> {
    return this.#changing(() => this.#writer.write(path, body, options))
  }

  /** Writes one part of a file; see `PartWriter.put`. Throws what that and `write` throw. */
  async putPart(path: string, body: Body, options: PartOptions): Promise<Written | number> {
    return this.#changing(() => this.#parts.put(path, body, options))
  }

  /**
   * Removes a file for good, and what has come of it in parts; `together` with what else is removed.
   * Throws not_found, bad_path for a directory, not_regular, device_failed.
   */
  async remove(
    path: string,
    { together = false }: { readonly together?: boolean } = {},
  ): Promise<void> {
    await this.#changing(async () => {
      if (!(together && (await this.#removeTogether(path)))) {
        await this.#parts.drop(path)
        await pausePoint('delete: begun')
        await this.#checkThere(path)
        await this.disk.unlink(join(this.directory, path)).catch(absentIsNotFound)
      }
      await pausePoint('delete: unlinked')
      await this.#tree.flush(dirname(path))
      await pausePoint('delete: flushed')
    })
  }

  /**
   * Makes a directory, durably. False: something has this name. Throws no_parent, not_regular,
   * device_not_mounted, device_failed.
   */
  async makeDirectory(path: string): Promise<boolean> {
    if (path === '') return false
    return this.#changing(async () => {
      try {
        await this.#tree.checkPlain(dirname(path))
        await this.#tree.make(path)
        return true
      } catch (err) {
        if (hasErrno(err, 'EEXIST')) return false
        if (!hasErrno(err, 'ENOENT', 'ENOTDIR')) throw err
        throw new CodedError('no_parent', 'the directory above is not there')
      }
    })
  }

  /**
   * The digests of a stored file, read from the disk; patient ones one after another, whatever else
   * is read meanwhile. Throws not_found, not_regular, device_failed.
   */
  async digest(
    path: string,
    algorithms: readonly Algorithm[],
    { patient = false }: { readonly patient?: boolean } = {},
  ): Promise<FileDigests> {
    try {
      await this.#tree.checkPlain(dirname(path))
      const digester = patient ? this.#patientDigester : this.#digester
      return await digester.digest(join(this.directory, path), algorithms)
    } catch (err) {
      if (hasErrno(err, 'ENOENT', 'ENOTDIR')) throw notFound()
      const hasBegun = err instanceof DigestError && err.offset !== undefined
      throw this.#cannotRead(path, hasBegun ? this.#failure(err) : err)
    }
  }

  /**
   * Takes a file out of service when its bytes do not have the SHA-256 that they should; it is kept
   * for a person to look at. False when they do. Throws what `digest` throws.
   */
  async setAside(path: string, sha256: Buffer): Promise<boolean> {
    const found = await this.digest(path, ['sha256'])
    if (found.digests.sha256?.equals(sha256)) return false
    await this.#changing(async () => {
      await this.#checkThere(path)
      await this.#tree.ensure(quarantine)
      const aside = join(quarantine, `${basename(path)}.${Date.now()}`)
      await this.disk.rename(join(this.directory, path), join(this.directory, aside))
      await this.#tree.flush(quarantine)
      await this.#tree.flush(dirname(path))
      this.#log.error({ path, aside }, 'a file with wrong bytes was set aside')
    })
    return true
  }

  /** The replicas stored here, from behind `after` on; see `listFiles`. */
  async *files(after?: number): AsyncGenerator<StoredFile, void, undefined> {
    try {
      yield* listFiles(this.disk, this.directory, after)
    } catch (err) {
      throw explain(err, this.devid)
    }
  }

  /** Writes a file, and sees that it is there; a device that cannot do that is marked as such. */
  async testWrite(): Promise<void> {
    await this.#changing(() => tryWriting(this, this.#tree, this.#options.fsync))
  }

  /**
   * Does the same with one that has failed, and marks nothing. Files in parts are to be begun anew: the
   * kernel may have dropped bytes that it could not write, and a later flush would not tell. Throws
   * device_failed, and what the system says.
   */
  async testFailed(): Promise<void> {
    await dropParts(this)
    await tryWriting(this, this.#tree, this.#options.fsync).catch(async (err: unknown) => {
      // A full one has to take deletions again.
      if (!hasErrno(err, 'ENOSPC', 'EDQUOT')) throw err
      await this.#tree.flush('.')
    })
  }

  /** Takes no writes until `mend`, and answers those under way with device_failed. */
  fail(err: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#failures++
    // Each directory is flushed anew before something in it is taken to be named.
    this.#tree.forget()
    this.#log.error({ err }, 'device failed: read-only until test writes succeed')
    void dropParts(this).catch(() => {}) // done again before it is mended
  }

  /** Takes writes again. */
  mend(): void {
    this.#failed = false
    this.#log.info('device takes writes again')
  }

  close(): void {
    this.#digester.close()
    this.#patientDigester.close()
    this.#ownDigester.close()
    this.disk.end()
  }

  /** False: what is there is left for who can say why it stays. */
  async #removeTogether(path: string): Promise<boolean> {
    await pausePoint('delete: begun')
    await this.#tree.checkPlain(dirname(path)).catch(absentIsNotFound)
    return this.disk
      .remove(this.#parts.fileOf(path), join(this.directory, path))
      .catch(absentIsNotFound)
  }

  async #digestOfOurs(file: string, algorithms: readonly Algorithm[]): Promise<StoredDigests> {
    const all = new Set<Algorithm>(['sha256', ...algorithms])
    const { digests } = await this.#ownDigester.digest(file, [...all])
    const { sha256 } = digests
    if (!sha256) throw new Error('a digest that was asked for is missing')
    return { ...digests, sha256 }
  }

  /** The failure to answer with; when it is the disk's, the file is one that cannot be read. */
  #cannotRead(path: string, err: unknown): unknown {
    const failure = explain(err, this.devid)
    const fid = Number(/(\d{1,15})\.fid$/.exec(path)?.[1])
    const isUnreadable = fid > 0 && isCoded(failure, 'device_failed') && !this.disk.hung
    if (isUnreadable && this.unreadable.add(fid)) this.#options.onUnreadable(fid)
    return failure
  }

  async #changing<T>(work: () => Promise<T>): Promise<T> {
    this.#checkFailed()
    const failures = this.#failures
    let result: T
    try {
      result = await work()
    } catch (err) {
      const failure = explain(err, this.devid)
      // What cannot be read concerns one file; what cannot be written or flushed, all that come.
      const isReading = err instanceof DigestError || isOfCall(err, 'read')
      const isFirst = this.#failures === failures && !this.disk.hung
      if (isFirst && !isReading && isCoded(failure, 'device_failed')) {
        this.fail(failure)
        this.#options.onFailed(failure)
      }
      if (hasErrno(err, 'EROFS')) this.#readOnly = true
      throw failure
    }
    // That something of it could not be written may have been said to another, and only once.
    if (this.#failures !== failures) throw this.#failure()
    this.#readOnly = false
    return result
  }

  async #checkThere(path: string): Promise<void> {
    if (!(await this.#writer.checkPlace(path).catch(absentIsNotFound))) throw notFound()
  }

  #checkFailed(): void {
    if (this.#failed) throw this.#failure()
  }

  #failure(cause?: Error): CodedError {
    return new CodedError('device_failed', `dev${this.devid} has failed`, { cause })
  }
}
