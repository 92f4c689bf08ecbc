/** How busy the disks under the devices are (Linux, `/sys/dev/block/…/stat`). */
import { readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'

/** Field 10 of the statistics of a block device: milliseconds in which it had work to do. */
const busyField = 9

interface Sample {
  readonly busyMs: number
  readonly at: number
}

/** Measures from one call to the next. */
export class Utilization {
  readonly #samples = new Map<number, Sample>()

  /**
   * Percent of the time since the call before that the disk with this file system (`st_dev`) was busy;
   * undefined the first time, and where the system does not tell. Never waits for the disk.
   */
  async of(devid: number, fileSystem: number): Promise<number | undefined> {
    const before = this.#samples.get(devid)
    const sample = await read(fileSystem).catch(() => undefined)
    if (!sample) return undefined
    this.#samples.set(devid, sample)
    if (!before || sample.at <= before.at) return undefined
    const percent = ((sample.busyMs - before.busyMs) / (sample.at - before.at)) * 100
    return Math.min(100, Math.max(0, percent))
  }
}

async function read(dev: number): Promise<Sample> {
  // makedev(3): twelve bits of major, twenty of minor, and what does not fit above.
  const major = Math.floor(dev / 256) % 4096
  const minor = (dev % 256) + Math.floor(dev / 2 ** 20) * 256
  const block = await realpath(`/sys/dev/block/${major}:${minor}`)
  const fields = (await readFile(join(block, 'stat'), 'utf8')).trim().split(/\s+/)
  const busyMs = Number(fields[busyField])
  if (!Number.isFinite(busyMs)) throw new Error('no statistics')
  return { busyMs, at: performance.now() }
}
