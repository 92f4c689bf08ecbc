/** `omg stats`: how many files there are, where, and of which kind. */
import type { Command } from 'commander'
import type { FileInfo } from '../../common/protocol/files.ts'
import type { FileCounts, QueueList } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { pagesOfFids } from './fids.ts'
import type { Output } from './output.ts'
import { describeQueues } from './queue.ts'
import type { ConnectionOptions } from './session.ts'
import { formatBytes, formatSeconds, formatTable, type Column } from './text.ts'

interface Sum {
  files: number
  bytes: number
}

/** The counts, over all files. */
interface Stats {
  /** When the count began, ISO 8601. */
  countedAt: string
  highestFid: number
  /** By domain and class. `copies` maps a number of copies to the number of files that have so many. */
  readonly classes: {
    readonly domain: string
    readonly class: string
    files: number
    bytes: number
    bytesOnDevices: number
    readonly copies: Record<string, number>
  }[]
  readonly devices: ({
    readonly devid: number
    readonly host: string
    readonly status: string
  } & Sum)[]
  readonly queues: QueueList
}

interface Options extends ConnectionOptions {
  readonly fresh?: boolean
}

/** Adds the command. */
export function addStats(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'stats',
      'count files by domain, class, copies and device; where there are many, show the last count of the trackers',
      '{ countedAt, highestFid, classes, devices, queues: QueueList }',
    )
    .option('--fresh', 'count now, which takes long where there are many')
  command.action((options: Options) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const now = new Date().toISOString()
      const [devices, queues, kept] = await Promise.all([
        api.listDevices({ signal }),
        api.listQueues({ signal }),
        options.fresh ? undefined : api.stats({ signal }),
      ])
      const stats: Stats = {
        countedAt: kept?.countedAt ?? now,
        highestFid: kept?.highestFid ?? 0,
        classes: [],
        devices: devices.map(({ devid, host, status }) => ({
          devid,
          host,
          status,
          files: 0,
          bytes: 0,
        })),
        queues,
      }
      const count = createCounter(stats)
      if (kept?.countedAt !== undefined) count.all(kept)
      else for await (const page of pagesOfFids(api, { signal })) page.forEach(count.one)
      if (json) await out.json(stats)
      else await write(stats, out)
    }),
  )
}

interface Counter {
  readonly one: (file: FileInfo) => void
  readonly all: (counts: FileCounts) => void
}

/** Adds to `stats`: `one` a single file, `all` what a tracker has counted. */
function createCounter(stats: Stats): Counter {
  const classes = new Map<string, Stats['classes'][number]>()
  const devices = new Map(stats.devices.map(device => [device.devid, device]))
  const countClass = ({
    domain,
    class: name,
    copies,
    files,
    bytes,
  }: FileCounts['classes'][number]): void => {
    const id = JSON.stringify([domain, name])
    let sum = classes.get(id)
    if (!sum) {
      sum = { domain, class: name, files: 0, bytes: 0, bytesOnDevices: 0, copies: {} }
      classes.set(id, sum)
      stats.classes.push(sum)
    }
    sum.files += files
    sum.bytes += bytes
    sum.bytesOnDevices += bytes * copies
    sum.copies[copies] = (sum.copies[copies] ?? 0) + files
  }
  const countDevice = ({ devid, files, bytes }: FileCounts['devices'][number]): void => {
    const device = devices.get(devid)
    if (!device) return
    device.files += files
    device.bytes += bytes
  }
  return {
    one({ fid, domain, class: name, size: bytes, devids }) {
      stats.highestFid = Math.max(stats.highestFid, fid)
      countClass({ domain, class: name, copies: devids.length, files: 1, bytes })
      for (const devid of devids) countDevice({ devid, files: 1, bytes })
    },
    all(counts) {
      counts.classes.forEach(countClass)
      counts.devices.forEach(countDevice)
    },
  }
}

async function write(
  { countedAt, highestFid, classes, devices, queues }: Stats,
  out: Output,
): Promise<void> {
  const age = Math.max(0, Date.now() - Date.parse(countedAt)) / 1000
  const right = (title: string): Column => ({ title, right: true })
  const left = (title: string): Column => ({ title, shrink: true })
  const tables = [
    formatTable(
      [
        left('DOMAIN'),
        left('CLASS'),
        right('FILES'),
        right('SIZE'),
        right('ON DEVICES'),
        left('COPIES'),
      ],
      classes.map(one => [
        one.domain,
        one.class,
        String(one.files),
        formatBytes(one.bytes),
        formatBytes(one.bytesOnDevices),
        Object.entries(one.copies)
          .map(([copies, files]) => `${copies}: ${files}`)
          .join(', '),
      ]),
    ),
    formatTable(
      [left('DEVICE'), left('HOST'), left('STATUS'), right('FILES'), right('SIZE')],
      devices.map(({ devid, host, status, files, bytes }) => [
        `dev${devid}`,
        host,
        status,
        String(files),
        formatBytes(bytes),
      ]),
    ),
    describeQueues(queues),
    `highest fid: ${highestFid}\nfiles counted ${formatSeconds(age)} ago\n`,
  ]
  await out.write(tables.join('\n'))
}
