/**
 * The storage node: keeps the bytes. It owns the directories `dev<N>` below its root and the plain
 * files in them, and serves them over HTTP. It promises that a PUT it answered with 201 is on disk,
 * whole and under its name, and that nobody ever reads a part of a file as the whole; it knows
 * nothing of keys, classes or other nodes.
 */
import { stat } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { ConfigError, formatAddress, parseAddress, type Address } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import { hostKeys } from '../common/signing.ts'
import { checkConfig, type StorageNodeConfig } from './config.ts'
import { Devices } from './devices.ts'
import { createNodeServer } from './http.ts'

export { StorageNodeConfig } from './config.ts'

export interface StorageNode extends Daemon {
  /** Where it serves; throws before `start`. */
  readonly address: Address
}

const sweepEveryMs = 3600_000
const sweepAgeMs = 24 * 3600_000

/** Milliseconds that requests under way have to end when the node closes. */
const drainMs = 10_000

/** Creates a storage node. Throws ConfigError when the settings do not go together. */
export function createStorageNode(config: StorageNodeConfig, log: Logger): StorageNode {
  checkConfig(config)
  const { root, name, open } = config
  const devices = new Devices(root, log)
  const secrets = [config.secret, config.previousSecret].filter(secret => secret !== undefined)
  const app = createNodeServer({ devices, name, open, keys: secrets.map(hostKeys), log })
  let sweeping = Promise.resolve()
  let timer: NodeJS.Timeout | undefined

  /** Removes what uploads that were cut off left behind. */
  async function sweep(ageMs: number): Promise<void> {
    for (const devid of await devices.list()) {
      try {
        const removed = await (await devices.get(devid)).sweep(ageMs)
        if (removed > 0) log.info({ devid, removed }, 'temporary files removed')
      } catch (err) {
        log.warn({ err, devid }, 'sweep failed')
      }
    }
  }

  return {
    get address() {
      const { address, port } = app.server.address() as AddressInfo
      return { host: address, port }
    },
    listening() {
      return { http: formatAddress(this.address) }
    },
    async start() {
      const found = await stat(root).catch(() => undefined)
      if (!found?.isDirectory()) throw new ConfigError(`--root: ${root} is not a directory`)
      // Nothing of ours is under way yet, so that every temporary file is a left-over.
      await sweep(0)
      await app.listen(parseAddress('--listen', config.listen))
      log.info(this.listening(), 'storage node serves')
      timer = setInterval(() => {
        sweeping = sweep(sweepAgeMs).catch((err: unknown) => log.warn({ err }, 'sweep failed'))
      }, sweepEveryMs).unref()
    },
    async close() {
      clearInterval(timer)
      const cut = setTimeout(() => app.server.closeAllConnections(), drainMs)
      await app.close()
      clearTimeout(cut)
      await sweeping
    },
  }
}
