/** One process of a storage node. */
import { stat } from 'node:fs/promises'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import type { Registry } from 'prom-client'
import { ConfigError, formatAddress, parseAddress } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Address } from '../common/config.ts'
import type { Logger } from '../common/log.ts'
import { hostKeys } from '../common/signing.ts'
import { isLocal, parseAllowList } from './allow-list.ts'
import { sideAddress, sourceList, type StorageNodeConfig } from './config.ts'
import { Devices, type UnreadableFile } from './device/devices.ts'
import { hasErrno } from './disk/errno.ts'
import { createNodeServer } from './http/http.ts'
import { ownLocks, workerLocks } from './writing/part-locks.ts'
import { createRecovery, defaultFirstMs, type Recovery } from './device/recovery.ts'
import { createSideChannel } from './side-channel/side-channel.ts'
import { talkTo } from './processes/talk.ts'
import { sweepTemporary } from './device/temporary.ts'

export interface ServingNode extends Daemon {
  readonly address: Address
}

export interface Housekeeper {
  /** Removes what uploads that were cut off left behind, and looks whether the disks take writes. */
  start(): Promise<void>
  close(): Promise<void>
}

const sweepEveryMs = 3600_000
/** The sweep that comes next finds none that is a day old. */
const sweepAgeMs = 23 * 3600_000

/** What a supervisor tells its workers. */
export interface NodeMessage {
  /** A device that failed another process. */
  readonly failed?: number
  /** One that takes writes again. */
  readonly mended?: number
  /** A file that another process cannot read. */
  readonly unreadable?: UnreadableFile
  /** How many file calls a disk may have under way. */
  readonly fileCalls?: number
}

/** Milliseconds that requests under way have to end when the node closes: as long as a daemon waits. */
const drainMs = 20_000

/**
 * Creates one that serves alone, or among others: then there is a supervisor, which keeps house, has
 * the side channel, and tells all of them when a disk has failed one, and when it is well again.
 */
export function createServingNode(
  config: StorageNodeConfig,
  log: Logger,
  { among = false }: { readonly among?: boolean } = {},
): ServingNode {
  const { root, name, open } = config
  const fsync = config.fsync !== 'off'
  let own: Registry | undefined
  const first = among
    ? talkTo(process, (message, sent) => process.send?.(message, undefined, undefined, sent), {
        'own metrics': () => own?.getMetricsAsJSON(),
      })
    : undefined
  const devices = new Devices({
    root,
    fsync,
    log,
    locks: first ? workerLocks(first) : ownLocks(),
    onFailed: failed => {
      if (among) process.send?.({ failed })
      else recovery.watch(failed)
    },
    ...(among && { onUnreadable: unreadable => process.send?.({ unreadable }) }),
  })
  const recovery = createDeviceRecovery(config, devices, log)
  const onMessage = ({ failed, mended, unreadable, fileCalls }: NodeMessage): void => {
    if (unreadable) devices.noteUnreadable(unreadable)
    if (fileCalls !== undefined) devices.setFileCalls(fileCalls)
    if (failed !== undefined) devices.fail(failed, new Error('it failed another process'))
    if (mended !== undefined) devices.mend(mended)
  }
  const secrets = [config.secret, config.previousSecret].filter(secret => secret !== undefined)
  const keys = secrets.map(hostKeys)
  const sources = sourceList(config)
  const cors = config.cors ?? 'signed'
  const server = createNodeServer({
    devices,
    name,
    open,
    keys,
    sources,
    fsync,
    cors,
    log,
    ...(first && {
      shareMetrics: metrics => {
        own = metrics
        return async () => {
          const text = await first.ask('metrics')
          return typeof text === 'string' ? text : ''
        }
      },
    }),
  })
  const { app } = server
  const { ending, end } = createEnding()
  const side = among
    ? undefined
    : createSide(config, devices, log, {
        shutdown: end,
        setFileCalls: calls => devices.setFileCalls(calls),
      })
  const housekeeper = createHousekeeper(devices, log)

  return {
    ending,
    get address() {
      const { address, port } = app.server.address() as AddressInfo
      return { host: address, port }
    },
    listening() {
      const sideAt = side?.address()
      return {
        http: formatAddress(this.address),
        ...(sideAt && { side: formatAddress(sideAt) }),
      }
    },
    async start() {
      const found = await stat(root).catch(() => undefined)
      if (!found?.isDirectory()) throw new ConfigError(`--root: ${root} is not a directory`)
      if (among) process.on('message', onMessage)
      else await housekeeper.start()
      await app.listen(parseAddress('--listen', config.listen))
      await side?.start()
      if (!fsync) {
        log.warn('fsync is off: a power cut or a crash of this machine loses acknowledged files')
      }
      log.info(this.listening(), 'storage node serves')
    },
    async close() {
      process.off('message', onMessage)
      await Promise.all([housekeeper.close(), recovery.close()])
      server.drain()
      const cut = setTimeout(() => {
        server.cut()
        app.server.closeAllConnections()
      }, drainMs)
      await side?.close()
      await app.close()
      clearTimeout(cut)
      await server.close()
      first?.close()
      devices.close()
    },
  }
}

/** Tests devices that have failed until they take writes again; `onMended` is told then. */
export function createDeviceRecovery(
  { failedRetrySeconds }: StorageNodeConfig,
  devices: Devices,
  log: Logger,
  onMended?: (devid: number) => void,
): Recovery {
  return createRecovery({
    firstMs: failedRetrySeconds === undefined ? defaultFirstMs : failedRetrySeconds * 1000,
    test: async devid => (await devices.get(devid)).testFailed(),
    onMended(devid) {
      devices.mend(devid)
      onMended?.(devid)
    },
    log,
  })
}

/** Sweeps and tests the devices at the start, and sweeps every hour. */
export function createHousekeeper(devices: Devices, log: Logger): Housekeeper {
  let timer: NodeJS.Timeout | undefined
  let sweeping = Promise.resolve()

  async function look(ageMs: number, testing: boolean): Promise<void> {
    for (const devid of await devices.list()) {
      try {
        const device = await devices.get(devid)
        const removed = await sweepTemporary(device, ageMs)
        if (removed > 0) log.info({ devid, removed }, 'temporary files removed')
        if (testing) await device.testWrite()
      } catch (err) {
        log.warn({ err, devid }, testing ? 'device cannot be written to' : 'sweep failed')
      }
    }
  }

  return {
    async start() {
      // Nothing of ours is under way yet, so that every temporary file is a left-over.
      await look(0, true)
      timer = setInterval(() => {
        sweeping = look(sweepAgeMs, false).catch((err: unknown) =>
          log.warn({ err }, 'sweep failed'),
        )
      }, sweepEveryMs).unref()
    },
    async close() {
      clearInterval(timer)
      await sweeping
    },
  }
}

/** A promise of the reason to end, and what settles it. */
export function createEnding(): { readonly ending: Promise<string>; readonly end: () => void } {
  let end = (): void => {}
  const ending = new Promise<string>(resolve => {
    end = () => resolve('told to over the side channel')
  })
  return { ending, end }
}

export interface Side {
  start(): Promise<void>
  address(): Address | undefined
  close(): Promise<void>
}

/** The side channel as the settings want it; undefined without one. */
export function createSide(
  config: StorageNodeConfig,
  devices: Devices,
  log: Logger,
  {
    shutdown,
    setFileCalls,
  }: { readonly shutdown: () => void; readonly setFileCalls: (calls: number) => void },
): Side | undefined {
  const at = sideAddress(config)
  if (!at) return undefined
  const listed = parseAllowList('--side-allow', config.sideAllow ?? '')
  const everybody = config.open && !config.sideAllow
  const server = createSideChannel({
    devices,
    log,
    allow: address => everybody || isLocal(address) || listed(address),
    shutdown,
    setFileCalls,
  })
  const sockets = new Set<Socket>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    async start() {
      server.listen(at.port, at.host)
      await once(server, 'listening').catch((err: unknown) => {
        // A port that nobody asked for must not keep the files away.
        if (config.sideListen !== undefined || !hasErrno(err, 'EADDRINUSE')) throw err
        log.warn({ err }, 'no side channel: the port above the HTTP port is taken')
      })
    },
    address() {
      const bound = server.address() as AddressInfo | null
      return bound ? { host: bound.address, port: bound.port } : undefined
    },
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
