/**
 * The tracker: knows which file is where, and keeps it so. It owns the names (in Postgres, its only
 * state) and the work on the replicas: replication, deletion, looking after devices. It promises
 * that what it acknowledged is committed, and that any number of trackers on one database are equal.
 */
import { setMaxListeners } from 'node:events'
import type { FastifyInstance } from 'fastify'
import { createStorageClient } from '../client/storage.ts'
import { checkSecret, formatAddress, parseAddress } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import type { Context } from './cluster/context.ts'
import { ClusterState } from './cluster/state.ts'
import { createReplicaUrls } from './cluster/urls.ts'
import { hashToken } from './commands/tokens.ts'
import type { TrackerConfig } from './config.ts'
import { createHttpFront } from './http/server.ts'
import { createBatcher } from './store/batch.ts'
import { openDb, type DbPool } from './store/db.ts'
import { createFidAllocator } from './store/fids.ts'
import { createFileFinder } from './store/files.ts'
import { migrate } from './store/migrate.ts'
import { putAdminToken } from './store/tokens.ts'
import {
  commitKeys,
  commitUploads,
  insertUploads,
  type Commit,
  type NewUpload,
} from './store/uploads.ts'
import { createWireHandler } from './wire/commands/index.ts'
import { createWireServer } from './wire/server.ts'
import { createDeleteWorker } from './workers/delete.ts'
import { createExpireWorker } from './workers/expire.ts'
import { startLoop, type Loop } from './workers/loop.ts'
import { createMonitor } from './workers/monitor.ts'
import { createRefreshWorker } from './workers/refresh.ts'
import { createReplicateWorker } from './workers/replicate.ts'

export type { TrackerConfig } from './config.ts'

/** Listens as `http` and as `wire`. */
export type Tracker = Daemon

/** Database connections for commands and workers; for the rows that may be lost. */
const connections = { flushed: 12, lazy: 4 }

/** Most opens, or commits, in one statement; statements under way at once. */
const batches = { limit: 100, parallel: 2 }

/** Creates a tracker. Throws ConfigError for addresses or secrets that cannot be used. */
export function createTracker(config: TrackerConfig, log: Logger): Tracker {
  const httpListen = parseAddress('--http-listen', config.httpListen)
  const wireListen = parseAddress('--wire-listen', config.wireListen)
  checkSecret('--secret-file', config.secret)
  if (config.previousSecret) checkSecret('--previous-secret-file', config.previousSecret)
  if (config.adminToken) checkSecret('--admin-token-file', config.adminToken)

  // Without the error itself: pg hangs its whole client on it.
  const onError = (err: Error): void =>
    log.warn({ reason: err.message }, 'idle database connection lost')
  const open = (max: number, lazy: boolean): DbPool =>
    openDb({ url: config.databaseUrl, max, lazy, onError })
  const db = open(connections.flushed, false)
  const lazyDb = open(connections.lazy, true)
  const cluster = new ClusterState(db)
  const storage = createStorageClient()
  const previous = config.previousSecret ? [config.previousSecret] : []
  const loops = new Map<string, Loop>()
  const stop = new AbortController()
  // Every request that a worker has under way listens to it.
  setMaxListeners(0, stop.signal)

  const base = {
    db,
    cluster,
    fids: createFidAllocator(db),
    findFile: createFileFinder(db),
    insertUpload: createBatcher({
      ...batches,
      run: (uploads: readonly NewUpload[]) => insertUploads(lazyDb, uploads),
    }),
    commitUpload: createBatcher({
      ...batches,
      keysOf: commitKeys,
      run: (commits: readonly Commit[]) => commitUploads(db, commits),
    }),
    urls: createReplicaUrls(cluster, [config.secret, ...previous]),
    storage,
    open: config.open,
    random: Math.random,
    log,
  }
  const monitor = createMonitor(base, log.child({ worker: 'monitor' }))
  const ctx: Context = {
    ...base,
    wake: worker => loops.get(worker)?.wake(),
    monitorRound: () => monitor.round(),
  }
  const wire = createWireServer({
    listen: wireListen,
    handle: createWireHandler(ctx),
    allow: config.wireAllow.split(',').filter(entry => entry !== ''),
    log: log.child({ front: 'wire' }),
  })
  let http: FastifyInstance | undefined
  let closing: Promise<void> | undefined

  const close = async (): Promise<void> => {
    stop.abort()
    await Promise.all([http?.close(), wire.close()])
    await Promise.all([...loops.values()].map(loop => loop.done))
    await storage.close()
    await Promise.all([db.close(), lazyDb.close()])
  }
  return {
    async start() {
      await migrate(db)
      if (config.adminToken) await putAdminToken(db, 'admin', hashToken(config.adminToken))
      await cluster.refresh()
      // The first answer already knows which devices can be written to.
      await monitor.round()
      const workers = [
        monitor,
        createRefreshWorker(ctx),
        createReplicateWorker(ctx),
        createDeleteWorker(ctx),
        createExpireWorker(ctx),
      ]
      for (const worker of workers) {
        loops.set(worker.name, startLoop(worker, { signal: stop.signal, log }))
      }
      http = await createHttpFront(ctx)
      await http.listen({ host: httpListen.host, port: httpListen.port, backlog: 1024 })
      await wire.start()
      log.info(this.listening(), 'tracker serves')
    },
    close() {
      closing ??= close()
      return closing
    },
    listening() {
      const address = http?.server.address()
      if (!address || typeof address === 'string') throw new Error('the tracker does not listen')
      return {
        http: formatAddress({ host: address.address, port: address.port }),
        wire: formatAddress(wire.address),
      }
    },
  }
}
