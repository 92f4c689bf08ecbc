/** Which devices this node has: the directories `dev<N>` below the document root. */
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CodedError } from '../common/errors.ts'
import type { Logger } from '../common/log.ts'
import { Device } from './device.ts'
import { hasErrno } from './errno.ts'

/** Milliseconds for which a device that was found there is taken to be there still. */
const freshMs = 1_000

interface Known {
  readonly device: Device
  checkedAt: number
}

export class Devices {
  readonly #root: string
  readonly #log: Logger
  readonly #known = new Map<number, Known>()

  constructor(root: string, log: Logger) {
    this.#root = root
    this.#log = log
  }

  /**
   * The device, the same object for the life of the process. Throws no_such_device when its
   * directory is not there, device_not_mounted when another disk is where it was.
   */
  async get(devid: number): Promise<Device> {
    const known = this.#known.get(devid)
    const now = performance.now()
    if (known) {
      if (now - known.checkedAt < freshMs) return known.device
      await known.device.checkMounted()
      known.checkedAt = now
      return known.device
    }
    const device = await this.#find(devid)
    // Two first requests at once: both must end up with one object, since it holds state.
    const winner = this.#known.get(devid)
    if (winner) return winner.device
    this.#known.set(devid, { device, checkedAt: now })
    return device
  }

  async #find(devid: number): Promise<Device> {
    try {
      const directory = await realpath(join(this.#root, `dev${devid}`))
      const found = await stat(directory)
      if (found.isDirectory()) return new Device({ devid, directory, disk: found.dev }, this.#log)
    } catch (err) {
      if (!hasErrno(err, 'ENOENT', 'ENOTDIR')) throw err
    }
    throw new CodedError('no_such_device', `no device dev${devid} here`)
  }

  /** Numbers of the devices that are there, ascending. Throws when the root cannot be read. */
  async list(): Promise<number[]> {
    const devids: number[] = []
    for (const name of await readdir(this.#root)) {
      const devid = Number(/^dev([1-9]\d{0,9})$/.exec(name)?.[1])
      if (!(devid < 2 ** 31)) continue
      const found = await stat(join(this.#root, name)).catch(() => undefined)
      if (found?.isDirectory()) devids.push(devid)
    }
    return devids.sort((a, b) => a - b)
  }
}
