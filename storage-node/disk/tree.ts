/** Names that survive a power cut: directories whose own names were flushed, and shared flushes. */
import { constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { CodedError } from '../../common/errors.ts'
import type { Disk } from './disk.ts'
import { hasErrno } from './errno.ts'

const maxRemembered = 10_000

/** Milliseconds for which a directory that was looked at is taken to be no symbolic link. */
const plainMs = 1_000

interface Flushes {
  running: Promise<void>
  next: Promise<void> | undefined
}

export interface TreeOptions {
  readonly devid: number
  readonly directory: string
  readonly disk: Disk
  /** False: nothing is ever flushed. */
  readonly fsync: boolean
  /** Called before a directory is made; throws where none may be. */
  readonly checkMounted: () => Promise<void>
}

/** The directories of one device. Paths are relative to the device's own. */
export class DirectoryTree {
  readonly #options: TreeOptions
  readonly #durable = new Set<string>()
  readonly #plainUntil = new Map<string, number>()
  readonly #flushes = new Map<string, Flushes>()

  constructor(options: TreeOptions) {
    this.#options = options
  }

  /**
   * Makes a directory with all above it, each named on disk. One that exists is flushed too, the
   * first time: whoever made it may have died before that. Throws not_regular or bad_path where
   * something else is in the way.
   */
  async ensure(path: string): Promise<void> {
    if (path === '.' || this.#durable.has(path)) return
    await this.ensure(dirname(path))
    try {
      await this.make(path)
    } catch (err) {
      if (!hasErrno(err, 'EEXIST')) throw err
      const { directory, disk } = this.#options
      const found = await disk.lstat(join(directory, path))
      if (found.isSymbolicLink()) throw new CodedError('not_regular', 'a link is in the way')
      if (!found.isDirectory()) throw new CodedError('bad_path', 'a file is in the way')
      await this.#nameDurably(path)
    }
  }

  /** Makes one directory, named on disk. Throws what the system says, EEXIST and ENOENT for example. */
  async make(path: string): Promise<void> {
    const { directory, disk, checkMounted } = this.#options
    // The empty mount point of a disk that went away must not fill up in its place.
    await checkMounted()
    await disk.mkdir(join(directory, path))
    await this.#nameDurably(path).catch(async (err: unknown) => {
      // The next flush may succeed without the name on the disk: whoever comes next makes it anew.
      await disk.rmdir(join(directory, path)).catch(() => {})
      throw err
    })
  }

  async #nameDurably(path: string): Promise<void> {
    await this.flush(dirname(path))
    if (this.#durable.size >= maxRemembered) this.#durable.clear()
    this.#durable.add(path)
  }

  /** Takes nothing for granted any more: someone else has removed directories. */
  forget(): void {
    this.#durable.clear()
    this.#plainUntil.clear()
  }

  /** Throws not_regular when the way to the directory leads through a symbolic link, ENOENT. */
  async checkPlain(path: string): Promise<void> {
    const now = performance.now()
    if ((this.#plainUntil.get(path) ?? 0) > now) return
    const wanted = join(this.#options.directory, path)
    if ((await this.#options.disk.realpath(wanted)) !== wanted) {
      throw new CodedError('not_regular', 'only regular files are served')
    }
    if (this.#plainUntil.size >= maxRemembered) this.#plainUntil.clear()
    this.#plainUntil.set(path, now + plainMs)
  }

  /**
   * Makes what was created, renamed or removed in a directory durable. Those who ask while a flush
   * is under way share the next one: the one under way may have begun before their change. Throws
   * device_failed, and that is final: the kernel may have dropped what it could not write, and a
   * second try would report success for names that are gone.
   */
  flush(path: string): Promise<void> {
    if (!this.#options.fsync) return Promise.resolve()
    const flushes = this.#flushes.get(path)
    if (!flushes) {
      const fresh: Flushes = { running: this.#flushNow(path), next: undefined }
      this.#flushes.set(path, fresh)
      this.#whenOver(path, fresh)
      return fresh.running
    }
    flushes.next ??= flushes.running
      .catch(() => {}) // told to those who wait for it
      .then(() => this.#flushNow(path))
    return flushes.next
  }

  #whenOver(path: string, flushes: Flushes): void {
    const over = (): void => {
      if (flushes.next === undefined) {
        this.#flushes.delete(path)
        return
      }
      flushes.running = flushes.next
      flushes.next = undefined
      this.#whenOver(path, flushes)
    }
    flushes.running.then(over, over)
  }

  async #flushNow(path: string): Promise<void> {
    const { directory, disk, devid } = this.#options
    const flags = constants.O_RDONLY | constants.O_DIRECTORY
    const fd = await disk.open(join(directory, path), flags)
    try {
      await disk.sync(fd)
    } catch (cause) {
      throw new CodedError('device_failed', `dev${devid} has failed`, { cause })
    } finally {
      disk.close(fd)
    }
  }
}
