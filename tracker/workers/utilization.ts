/**
 * How busy the disks are, as storage nodes tell it on their side channels: a connection to each host
 * on which it reports about once a second (MogileFS-Server, `lib/MogileFS/Worker/Monitor.pm`). Nodes
 * need not have one, or let us in; their devices are then read by their weights.
 */
import { connect, type Socket } from 'node:net'
import type { Logger } from '../../common/log.ts'
import type { HostRow } from '../store/hosts.ts'

/** Milliseconds for a connection, and between two reports. */
const connectMs = 2_000
const silenceMs = 10_000
/** Milliseconds until a host that has no side channel for us is asked again. */
const retryMs = 60_000
/** Bytes of a report at most. */
const maxReport = 64 * 1024

export interface UtilizationOptions {
  /** Port of the side channels of all hosts; undefined: one above each node's own. */
  readonly port: number | undefined
  readonly log: Logger
}

type Address = Pick<HostRow, 'id' | 'ip' | 'port'>

export class Utilization {
  readonly #options: UtilizationOptions
  readonly #reporters = new Map<number, Reporter>()

  constructor(options: UtilizationOptions) {
    this.#options = options
  }

  /** From now on listens to these hosts and to no other. Called again and again, it tries again. */
  follow(hosts: readonly Address[]): void {
    const wanted = new Map(hosts.map(host => [host.id, host]))
    for (const [id, reporter] of this.#reporters) {
      const host = wanted.get(id)
      if (host && reporter.isAt(host.ip, this.#portOf(host))) continue
      reporter.close()
      this.#reporters.delete(id)
    }
    for (const host of hosts) {
      let reporter = this.#reporters.get(host.id)
      if (!reporter) {
        const log = this.#options.log.child({ host: host.id })
        reporter = new Reporter(host.ip, this.#portOf(host), log)
        this.#reporters.set(host.id, reporter)
      }
      reporter.connect()
    }
  }

  /** Percent of the time that the disk is busy, as its own host last told; undefined: it does not. */
  of(device: { readonly devid: number; readonly host: { readonly id: number } }) {
    return this.#reporters.get(device.host.id)?.report.get(device.devid)
  }

  close(): void {
    this.follow([])
  }

  #portOf({ port }: Address): number {
    return this.#options.port ?? port + 1
  }
}

const nothing: ReadonlyMap<number, number> = new Map()

/** One host that reports. */
class Reporter {
  /** Percents by device. */
  report = nothing
  readonly #ip: string
  readonly #port: number
  readonly #log: Logger
  #socket: Socket | undefined
  #retryAt = 0

  constructor(ip: string, port: number, log: Logger) {
    this.#ip = ip
    this.#port = port
    this.#log = log
  }

  isAt(ip: string, port: number): boolean {
    return this.#ip === ip && this.#port === port
  }

  /** Connects where that is due; never waits, never throws. */
  connect(): void {
    if (this.#socket || performance.now() < this.#retryAt || this.#port > 65_535) return
    this.#retryAt = performance.now() + retryMs
    const socket = connect({ host: this.#ip, port: this.#port })
    this.#socket = socket
    let text = ''
    socket.setEncoding('latin1')
    socket.setTimeout(connectMs, () => socket.destroy(new Error('it keeps silent')))
    socket.on('connect', () => {
      socket.setTimeout(silenceMs)
      socket.write('watch\n')
    })
    socket.on('data', (chunk: string) => {
      const blocks = (text + chunk).split(/^\.\r?\n/m)
      text = blocks.pop() ?? ''
      const report = parseReport(blocks.at(-1))
      if (text.length > maxReport || /^[^\d.]/.test(text) || report === 'none') {
        socket.destroy(new Error('it is no side channel'))
      } else if (report) {
        this.report = report
        this.#retryAt = 0 // one that has told before is asked again at once
      }
    })
    socket.on('error', err => this.#log.debug({ err }, 'the host does not tell how busy it is'))
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      this.report = nothing
    })
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }
}

/** Reads a block of `DEVID TAB PERCENT` lines, `-` where it is not known. */
function parseReport(block: string | undefined): ReadonlyMap<number, number> | 'none' | undefined {
  if (block === undefined) return undefined
  const report = new Map<number, number>()
  for (const line of block.split('\n')) {
    if (line === '') continue
    const [, devid, percent] = /^(\d+)\t(\d+(?:\.\d+)?|-)\r?$/.exec(line) ?? []
    if (devid === undefined || percent === undefined) return 'none'
    if (percent !== '-') report.set(Number(devid), Math.min(100, Number(percent)))
  }
  return report
}
