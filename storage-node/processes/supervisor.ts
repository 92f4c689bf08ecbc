/** Several processes that serve one port; what there is one of per node is done here. */
import cluster, { type Worker } from 'node:cluster'
import type { Daemon, ReadyMessage } from '../../common/daemon.ts'
import { parseAddress, type Address } from '../../common/config.ts'
import type { Logger } from '../../common/log.ts'
import type { StorageNodeConfig } from '../config.ts'
import { Devices } from '../device/devices.ts'
import { createLockKeeper, ownLocks } from '../writing/part-locks.ts'
import {
  createDeviceRecovery,
  createEnding,
  createHousekeeper,
  createSide,
  type NodeMessage,
} from '../node.ts'
import { addMetrics } from './shared-metrics.ts'
import { talkTo, type Talk } from './talk.ts'
import { formatAddress } from '../../common/address.ts'

/** Milliseconds until a worker that died is started again. */
const restartMs = 1_000

/** File threads of a worker: several disks may hang and leave some for the others. */
const threads = '64'

/** Creates one that runs `config.workers` processes of this command line. */
export function createSupervisor(
  config: StorageNodeConfig,
  log: Logger,
): Daemon & { readonly address: Address } {
  /** A disk that failed one process has failed all, also those to come. */
  const onFailed = (devid: number): void => {
    broadcast({ failed: devid })
    recovery.watch(devid)
  }
  let fileCalls: number | undefined
  const devices = new Devices({
    root: config.root,
    fsync: config.fsync !== 'off',
    log,
    locks: ownLocks(),
    onFailed,
  })
  const recovery = createDeviceRecovery(config, devices, log, mended => broadcast({ mended }))
  const { ending, end } = createEnding()
  const side = createSide(config, devices, log, {
    shutdown: end,
    setFileCalls(calls) {
      fileCalls = calls
      devices.setFileCalls(calls)
      broadcast({ fileCalls })
    },
  })
  const housekeeper = createHousekeeper(devices, log)
  const keepLocks = createLockKeeper()
  const serving = new Set<Talk>()
  let closing = false
  let http: string | undefined

  const startWorker = async (): Promise<void> => {
    const worker = cluster.fork({ UV_THREADPOOL_SIZE: threads })
    const talk = talkTo(worker, (message, sent) => worker.send(message, sent), {
      ...keepLocks(worker),
      metrics: () => addMetrics(serving),
    })
    worker.on('message', ({ failed, unreadable }: NodeMessage) => {
      if (unreadable) broadcast({ unreadable })
      if (failed === undefined) return
      devices.fail(failed, new Error('it failed another process'))
      onFailed(failed)
    })
    const { listening } = await ready(worker)
    for (const failed of devices.failed()) tell(worker, { failed })
    if (fileCalls !== undefined) tell(worker, { fileCalls })
    http ??= listening['http']
    serving.add(talk)
    worker.once('exit', (code, signal) => {
      serving.delete(talk)
      log.warn({ code, signal }, 'a worker ended')
      restartWorker()
    })
  }
  const restartWorker = (): void => {
    if (closing) return
    setTimeout(() => {
      if (closing) return
      startWorker().catch((err: unknown) => {
        log.error({ err }, 'no new worker')
        restartWorker()
      })
    }, restartMs)
  }

  return {
    ending,
    get address() {
      if (http === undefined) throw new Error('not started')
      return parseAddress('--listen', http)
    },
    listening() {
      const sideAt = side?.address()
      return { http: http ?? '', ...(sideAt && { side: formatAddress(sideAt) }) }
    },
    async start() {
      await housekeeper.start()
      // One after another: a free port that is asked for is the one that the first gets.
      for (let i = 0; i < (config.workers ?? 1); i++) await startWorker()
      await side?.start()
      log.info({ ...this.listening(), workers: config.workers }, 'storage node serves')
    },
    async close() {
      closing = true
      await Promise.all([housekeeper.close(), recovery.close()])
      await side?.close()
      const workers = Object.values(cluster.workers ?? {}).filter(worker => worker !== undefined)
      await Promise.all(workers.map(endWorker))
      devices.close()
    },
  }
}

/** Sends a worker a message; one that is just ending does without. */
function tell(worker: Worker, message: NodeMessage): void {
  worker.send(message, () => {})
}

function broadcast(message: NodeMessage): void {
  for (const worker of Object.values(cluster.workers ?? {})) if (worker) tell(worker, message)
}

function ready(worker: Worker): Promise<ReadyMessage> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: Partial<ReadyMessage>) => {
      if (message.ready) resolve(message as ReadyMessage)
    })
    worker.once('exit', () => reject(new Error('a worker did not start')))
  })
}

function endWorker(worker: Worker): Promise<void> {
  return new Promise(resolve => {
    worker.once('exit', () => resolve())
    if (worker.isDead()) resolve()
    else worker.kill('SIGTERM')
  })
}
