/** Names that survive a power cut: flushing, and directories whose own names were flushed. */
import { constants } from 'node:fs'
import { lstat, mkdir, open, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CodedError } from '../common/errors.ts'
import { hasErrno } from './errno.ts'

/**
 * Flushes an open file or directory. Throws device_failed, and that is final: the kernel may have
 * dropped what it could not write, and a second try would report success for bytes that are gone.
 */
export async function flush(handle: FileHandle, devid: number): Promise<void> {
  try {
    await handle.sync()
  } catch (cause) {
    throw new CodedError('device_failed', `dev${devid} has failed`, { cause })
  }
}

/** Makes what was last created, renamed or removed in a directory durable. Throws device_failed. */
export async function flushDirectory(directory: string, devid: number): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await flush(handle, devid)
  } finally {
    await handle.close()
  }
}

const maxRemembered = 10_000

/** The directories of one device. Paths are relative to the device's own. */
export class DirectoryTree {
  readonly #devid: number
  readonly #root: string
  readonly #checkMounted: () => Promise<void>
  readonly #durable = new Set<string>()

  /** `checkMounted` is called before a directory is made, and throws where none may be. */
  constructor(
    { devid, directory }: { readonly devid: number; readonly directory: string },
    checkMounted: () => Promise<void>,
  ) {
    this.#devid = devid
    this.#root = directory
    this.#checkMounted = checkMounted
  }

  /**
   * Makes a directory with all above it, each named on disk. One that exists is flushed too, the
   * first time: whoever made it may have died before that. Throws not_regular or bad_path where
   * something else is in the way.
   */
  async ensure(path: string): Promise<void> {
    if (path === '.' || this.#durable.has(path)) return
    await this.ensure(dirname(path))
    const directory = join(this.#root, path)
    // The empty mount point of a disk that went away must not fill up in its place.
    await this.#checkMounted()
    try {
      await mkdir(directory, 0o755)
    } catch (err) {
      if (!hasErrno(err, 'EEXIST')) throw err
      const found = await lstat(directory)
      if (found.isSymbolicLink()) throw new CodedError('not_regular', 'a link is in the way')
      if (!found.isDirectory()) throw new CodedError('bad_path', 'a file is in the way')
    }
    await flushDirectory(dirname(directory), this.#devid)
    if (this.#durable.size >= maxRemembered) this.#durable.clear()
    this.#durable.add(path)
  }

  /** Takes nothing for granted any more: someone else has removed directories. */
  forget(): void {
    this.#durable.clear()
  }
}
