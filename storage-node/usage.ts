/** How full a device is, and the text that MogileFS's trackers and `mogadm check` read about it. */
import { readFile, statfs } from 'node:fs/promises'

/** Sizes in KiB. `total` is used + available, so that blocks reserved for root do not count. */
export interface Usage {
  readonly available: number
  readonly used: number
  readonly total: number
  /** Block device, `/dev/sdh1`; `unknown` where the system does not tell. */
  readonly device: string
  /** Mount point, or the device's directory where it is not one. */
  readonly disk: string
}

/** Asks the file system of `directory`. */
export async function readUsage(directory: string): Promise<Usage> {
  const fs = await statfs(directory)
  const kib = (blocks: number): number => Math.floor((blocks * fs.bsize) / 1024)
  const available = kib(fs.bavail)
  // Trackers refuse a report in which a number is zero.
  const used = Math.max(1, kib(fs.blocks - fs.bfree))
  return {
    available,
    used,
    total: used + available,
    device: await blockDevice(directory),
    disk: directory,
  }
}

/** What is mounted at the longest mount point above `directory` (proc(5), mountinfo). */
async function blockDevice(directory: string): Promise<string> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  let best = { point: '', source: 'unknown' }
  for (const line of table.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const point = unescapeOctal(before.split(' ')[4] ?? '')
    const source = unescapeOctal(after.split(' ')[1] ?? '')
    if (!point || !source || point.length < best.point.length) continue
    const inside = point === '/' || directory === point || directory.startsWith(`${point}/`)
    if (inside) best = { point, source }
  }
  return best.source
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )

/** The body of `GET /dev<N>/usage`: `key: value` lines in the order of their keys. */
export function formatUsage(usage: Usage, nowSeconds: number): string {
  const { available, device, disk, total, used } = usage
  const percent = Math.ceil((used / total) * 100)
  return (
    `available: ${available}\ndevice: ${device}\ndisk: ${disk}\ntime: ${nowSeconds}\n` +
    `total: ${total}\nuse: ${percent}%\nused: ${used}\n`
  )
}
