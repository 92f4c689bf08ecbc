/** How full a device is, and the text that MogileFS's trackers and `mogadm check` read about it. */
import { readFile } from 'node:fs/promises'
import type { Disk } from './disk.ts'

/** Sizes in KiB. `total` is used + available, so that blocks reserved for root do not count. */
export interface Usage {
  readonly available: number
  readonly used: number
  readonly total: number
  /** Block device, `/dev/sdh1`; `unknown` where the system does not tell. */
  readonly device: string
  /** Mount point, or the device's directory where it is not one. */
  readonly disk: string
  /** The file system is mounted read-only. */
  readonly readOnly: boolean
}

/** Asks the file system of `directory`. */
export async function readUsage(directory: string, disk: Disk): Promise<Usage> {
  const fs = await disk.statfs(directory)
  const kib = (blocks: number): number => Math.floor((blocks * fs.bsize) / 1024)
  // Without inodes there is no room, however many blocks are free; some file systems count none.
  const available = fs.files > 0 && fs.ffree === 0 ? 0 : kib(fs.bavail)
  // Trackers refuse a report in which a number is zero.
  const used = Math.max(1, kib(fs.blocks - fs.bfree))
  const { source, readOnly } = await mountOf(directory)
  return { available, used, total: used + available, device: source, disk: directory, readOnly }
}

/** The same disk when nothing can be written to it: nobody is to find room on it. */
export function withoutRoom(usage: Usage): Usage {
  return { ...usage, available: 0, used: usage.total }
}

/** What is mounted at the longest mount point above `directory` (proc(5), mountinfo). */
async function mountOf(directory: string): Promise<{ source: string; readOnly: boolean }> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  let best = { point: '', source: 'unknown', readOnly: false }
  for (const line of table.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const fields = before.split(' ')
    const [, rawSource = '', superOptions = ''] = after.split(' ')
    const point = unescapeOctal(fields[4] ?? '')
    const source = unescapeOctal(rawSource)
    if (!point || !source || point.length < best.point.length) continue
    const inside = point === '/' || directory === point || directory.startsWith(`${point}/`)
    if (!inside) continue
    const options = [...(fields[5] ?? '').split(','), ...superOptions.split(',')]
    // The second is ext4's after an error, since Linux 6.15.
    const readOnly = options.includes('ro') || options.includes('emergency_ro')
    best = { point, source, readOnly }
  }
  return best
}

const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )

/**
 * The body of `GET /dev<N>/usage`: `key: value` lines in the order of their keys, with the numbers of
 * files that cannot be read, where there are any.
 */
export function formatUsage(
  usage: Omit<Usage, 'readOnly'>,
  nowSeconds: number,
  unreadable: readonly number[] = [],
): string {
  const { available, device, disk, total, used } = usage
  const told = unreadable.length > 0 ? `unreadable: ${unreadable.join(' ')}\n` : ''
  const percent = Math.ceil((used / total) * 100)
  return (
    `available: ${available}\ndevice: ${device}\ndisk: ${disk}\ntime: ${nowSeconds}\n` +
    `total: ${total}\n${told}use: ${percent}%\nused: ${used}\n`
  )
}
