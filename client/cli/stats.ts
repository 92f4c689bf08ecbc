/** `omg stats`: how many files there are, where, and of which kind. */
import type { Command } from 'commander'
import type { FileInfo } from '../../common/protocol/files.ts'
import type { QueueList } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { pagesOfFids } from './fids.ts'
import type { Output } from './output.ts'
import { describeQueues } from './queue.ts'
import type { ConnectionOptions } from './session.ts'
import { formatBytes, formatTable, type Column } from './text.ts'

interface Sum {
  files: number
  bytes: number
}

/** What is counted, over all files. */
export interface Stats {
  highestFid: number
  /** By domain and class. `copies`: files by the number of their copies. */
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

/** Adds the command. */
export function addStats(program: Command, cli: Cli): void {
  const command = cli.online(
    program,
    'stats',
    'count files by domain, class, copies and device; reads all rows, which takes long where there are many',
    '{ highestFid, classes, devices, queues: QueueList }',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const [devices, queues] = await Promise.all([
        api.listDevices({ signal }),
        api.listQueues({ signal }),
      ])
      const stats: Stats = {
        highestFid: 0,
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
      for await (const page of pagesOfFids(api, { signal })) page.forEach(count)
      if (json) await out.json(stats)
      else await write(stats, out)
    }),
  )
}

function createCounter(stats: Stats): (file: FileInfo) => void {
  const classes = new Map<string, Stats['classes'][number]>()
  const devices = new Map(stats.devices.map(device => [device.devid, device]))
  return ({ fid, domain, class: name, size, devids }) => {
    stats.highestFid = Math.max(stats.highestFid, fid)
    const id = JSON.stringify([domain, name])
    let sum = classes.get(id)
    if (!sum) {
      sum = { domain, class: name, files: 0, bytes: 0, bytesOnDevices: 0, copies: {} }
      classes.set(id, sum)
      stats.classes.push(sum)
    }
    sum.files++
    sum.bytes += size
    sum.bytesOnDevices += size * devids.length
    sum.copies[devids.length] = (sum.copies[devids.length] ?? 0) + 1
    for (const devid of devids) {
      const device = devices.get(devid)
      if (!device) continue
      device.files++
      device.bytes += size
    }
  }
}

async function write({ highestFid, classes, devices, queues }: Stats, out: Output): Promise<void> {
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
    `highest fid: ${highestFid}\n`,
  ]
  await out.write(tables.join('\n'))
}
