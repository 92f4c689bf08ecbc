/** Which devices this node has: the directories `dev<N>` below the document root. */
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isCoded } from '../../common/errors.ts'
import type { Logger } from '../../common/log.ts'
import { Device } from './device.ts'
import { Disk } from '../disk/disk.ts'
import { maxFileCalls } from '../disk/gate.ts'
import { findDevice } from '../disk/identity.ts'
import { OpenFiles } from '../disk/open-files.ts'
import type { PartLocks } from '../writing/part-locks.ts'

/** A file, by the numbers of its device and content. */
export interface UnreadableFile {
  readonly devid: number
  readonly fid: number
}

export interface DevicesOptions {
  readonly root: string
  /** False: nothing is flushed. */
  readonly fsync: boolean
  readonly log: Logger
  /** Who writes a part of which file. */
  readonly locks: PartLocks
  /** Called when a write to a device, or a flush, has failed here. */
  readonly onFailed: (devid: number) => void
  /** Called with a file that cannot be read here. */
  readonly onUnreadable?: ((file: UnreadableFile) => void) | undefined
}

export class Devices {
  readonly #options: DevicesOptions
  readonly #openFiles = new OpenFiles()
  readonly #known = new Map<number, Device>()
  /** Devices that take no writes, by number; also those that nobody has asked for here. */
  readonly #failed = new Map<number, Error>()

  #fileCalls: number | undefined

  constructor(options: DevicesOptions) {
    this.#options = options
  }

  /**
   * The device, which was in its place a second ago at most. Throws no_such_device when its
   * directory is not there, device_not_mounted when another disk is where it was.
   */
  async get(devid: number): Promise<Device> {
    const known = this.#known.get(devid)
    if (known?.fresh) return known
    if (known) {
      await known.checkMounted().catch((err: unknown) => {
        // Mounted anew it has another number: whether it is the same disk, its mark tells.
        if (!isCoded(err, 'device_not_mounted')) throw err
        return this.#findAgain(known, err)
      })
      return this.#known.get(devid) ?? known
    }
    const device = await this.#find(devid)
    // Two first requests at once: both must end up with one object, since it holds state.
    const winner = this.#known.get(devid)
    if (winner) return winner
    this.#known.set(devid, device)
    return device
  }

  /** The device when nothing has to be waited for. */
  getNow(devid: number): Device | undefined {
    const known = this.#known.get(devid)
    return known?.fresh ? known : undefined
  }

  /** Those that were asked for so far. */
  known(): Device[] {
    return [...this.#known.values()]
  }

  /** A device that has failed another process of this node takes no writes here either. */
  fail(devid: number, err: Error): void {
    this.#failed.set(devid, err)
    this.#known.get(devid)?.fail(err)
  }

  /** A file that cannot be read in another process is told by this one too. */
  noteUnreadable({ devid, fid }: UnreadableFile): void {
    this.#known.get(devid)?.unreadable.add(fid)
  }

  /** Numbers of the devices that take no writes since one failed. */
  failed(): number[] {
    return [...this.#failed.keys()]
  }

  /** A device that has failed takes writes again. */
  mend(devid: number): void {
    if (this.#failed.delete(devid)) this.#known.get(devid)?.mend()
  }

  /** Lets each disk have so many calls under way, as far as the threads there are allow. */
  setFileCalls(calls: number): void {
    this.#fileCalls = Math.max(1, Math.min(calls, maxFileCalls))
    for (const { disk } of this.#known.values()) disk.fileCalls = this.#fileCalls
  }

  /** Numbers of the devices that are there, ascending. Throws when the root cannot be read. */
  async list(): Promise<number[]> {
    const devids: number[] = []
    for (const entry of await readdir(this.#options.root, { withFileTypes: true })) {
      const devid = Number(/^dev([1-9]\d{0,9})$/.exec(entry.name)?.[1])
      if (devid < 2 ** 31 && (await this.#isDirectory(devid, entry))) devids.push(devid)
    }
    return devids.sort((a, b) => a - b)
  }

  /** Asks no disk, as far as can be: one that hangs would hold a thread for each who asks. */
  async #isDirectory(devid: number, entry: Dirent): Promise<boolean> {
    if (!entry.isSymbolicLink()) return entry.isDirectory()
    if (this.#known.has(devid)) return true
    const found = await stat(join(this.#options.root, entry.name)).catch(() => undefined)
    return found?.isDirectory() === true
  }

  close(): void {
    this.#openFiles.close()
    for (const device of this.#known.values()) device.close()
  }

  async #find(devid: number): Promise<Device> {
    const { root, fsync, log, locks, onFailed, onUnreadable } = this.#options
    const identity = await findDevice(root, devid, log)
    const disk = new Disk(devid, identity.directory)
    if (this.#fileCalls !== undefined) disk.fileCalls = this.#fileCalls
    const device = new Device({
      devid,
      identity,
      disk,
      openFiles: this.#openFiles,
      fsync,
      log,
      locks,
      onFailed: err => {
        this.fail(devid, err)
        onFailed(devid)
      },
      onUnreadable: fid => onUnreadable?.({ devid, fid }),
    })
    await device.checkMounted()
    const failure = this.#failed.get(devid)
    if (failure) device.fail(failure)
    return device
  }

  /** A disk that was unmounted and is back is a new device object; a plain directory is not taken. */
  async #findAgain(known: Device, err: unknown): Promise<void> {
    const { dev: rootFileSystem } = await stat(this.#options.root)
    const found = await stat(known.directory)
    if (found.dev === rootFileSystem) throw err
    const device = await this.#find(known.devid)
    known.close()
    this.#known.set(known.devid, device)
  }
}
