/**
 * The tracker: knows which file is where, and keeps it so. It owns the names (in Postgres, its only
 * state) and the work on the replicas: replication, deletion, looking after devices. It promises
 * that what it acknowledged is committed, and that any number of trackers on one database are equal.
 */
import type { FastifyInstance } from 'fastify'
import { createStorageClient } from '../client/storage.ts'
import { checkSecret, formatAddress, parseAddress } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import type { Context } from './cluster/context.ts'
import { Directories } from './cluster/directories.ts'
import { ClusterState } from './cluster/state.ts'
import { TokenRates } from './cluster/token-rates.ts'
import { createReplicaUrls } from './cluster/urls.ts'
import { hashToken } from './commands/tokens.ts'
import type { TrackerConfig } from './config.ts'
import { createHttpFront } from './http/server.ts'
import { createInnerHooks, type InnerHooks } from './plugins/inner-hooks.ts'
import { loadPlugins } from './plugins/load.ts'
import { openDb, type DbPool } from './store/db.ts'
import { createFidAllocator } from './store/fids.ts'
import { migrate } from './store/migrate.ts'
import { createNames } from './store/names.ts'
import { putAdminToken } from './store/tokens.ts'
import { createWireHandler } from './wire/commands/index.ts'
import { createConsole } from './wire/console/console.ts'
import { Queries } from './wire/console/queries.ts'
import { Watchers } from './wire/console/watchers.ts'
import { withPlugins } from './wire/plugins.ts'
import { createWireServer, type WireServerOptions } from './wire/server.ts'
import { Courtesy } from './workers/courtesy.ts'
import { createDeleteWorker } from './workers/delete.ts'
import { createExpireWorker } from './workers/expire.ts'
import { createFsckWorker } from './workers/fsck.ts'
import { createJobs, queryWorkers } from './workers/jobs.ts'
import { createMonitor } from './workers/monitor.ts'
import { createReaper } from './workers/reaper.ts'
import { createRebalanceWorker } from './workers/rebalance.ts'
import { createRefreshWorker } from './workers/refresh.ts'
import { createReplicateWorker } from './workers/replicate.ts'
import { createReviewWorker } from './workers/review.ts'
import { createScrubWorker } from './workers/scrub.ts'
import { createSweepWorker } from './workers/sweep.ts'
import { createUpkeepWorker } from './workers/upkeep.ts'
import { Utilization } from './workers/utilization.ts'

export type { TrackerConfig } from './config.ts'
export type * from './plugins/plugin.ts'

/** Listens as `http` and as `wire`, the latter perhaps at several addresses, comma-separated. */
export type Tracker = Daemon

/** Database connections for commands and workers; for the rows that may be lost. */
const connections = { flushed: 12, lazy: 4 }

/** Entries of a comma-separated setting. */
const listOf = (setting: string): string[] =>
  setting
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')

/**
 * Creates a tracker. Throws ConfigError for addresses or secrets that cannot be used; its `start`
 * throws one for plugins.
 */
export function createTracker(config: TrackerConfig, plainLog: Logger): Tracker {
  const httpListen = parseAddress('--http-listen', config.httpListen)
  const wireListen = config.wireListen
    .split(',')
    .map(entry => parseAddress('--wire-listen', entry.trim()))
  checkSecret('--secret-file', config.secret)
  if (config.previousSecret) checkSecret('--previous-secret-file', config.previousSecret)
  if (config.adminToken) checkSecret('--admin-token-file', config.adminToken)

  const watchers = new Watchers()
  const log = watchers.tap(plainLog)
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
  const queries = new Queries()
  let httpRequests = 0
  const courtesy = new Courtesy({
    total: () => queries.total + httpRequests,
    underWay: () => queries.processing,
  })
  const jobs = createJobs({
    log,
    jobMaster: !config.noJobMaster,
    onQueryWorkers: count => {
      // Most of their time queries wait for others: only fewer than usual are a limit that is meant.
      queries.workers = count < queryWorkers ? count : Infinity
    },
  })
  let hooks: InnerHooks | undefined

  const secrets = [config.secret, ...previous] as const
  const urls = createReplicaUrls(cluster, { secrets, open: config.open })
  const base = {
    db,
    cluster,
    fids: createFidAllocator(db),
    names: createNames(db, lazyDb),
    urls,
    storage,
    directories: new Directories({ cluster, urls, storage }),
    open: config.open,
    random: Math.random,
    wake: (worker: string) => jobs.wake(worker),
    politely: <T>(work: () => Promise<T>) => courtesy.run(work),
    rates: new TokenRates(),
    countRequest: () => void httpRequests++,
    log,
  }
  const monitorLog = log.child({ worker: 'monitor' })
  const utilization = new Utilization({ port: config.sidePort, log: monitorLog })
  const monitor = createMonitor(base, monitorLog, utilization)
  const ctx: Context = {
    ...base,
    monitorRound: () => monitor.round(),
    get hooks() {
      return hooks
    },
  }
  let handle: WireServerOptions['handle'] = createWireHandler(ctx)
  let shutDown = (): void => {}
  const wire = createWireServer({
    listen: wireListen,
    handle: request => handle(request),
    console: createConsole({ jobs, queries, watchers, shutDown: () => shutDown() }),
    queries,
    allow: listOf(config.wireAllow),
    maxConnections: config.wireMaxConnections,
    maxConnectionsPerAddress: config.wireMaxConnectionsPerAddress,
    log: log.child({ front: 'wire' }),
  })
  let http: FastifyInstance | undefined
  let closing: Promise<void> | undefined

  const close = async (): Promise<void> => {
    const idle = jobs.close()
    await Promise.all([http?.close(), wire.close(), idle])
    utilization.close()
    await storage.close()
    await Promise.all([db.close(), lazyDb.close()])
  }
  const ending = new Promise<string>(resolve => {
    shutDown = () => {
      // After the answer to it has left.
      setImmediate(() => {
        closing ??= close()
        closing.catch((err: unknown) => log.error({ err }, 'close failed'))
        resolve('told so on the console')
      })
    }
  })
  return {
    ending,
    async start() {
      const paths = listOf(config.plugins)
      if (paths.length > 0) {
        const plugins = await loadPlugins(paths)
        cluster.policies = plugins.policies
        hooks = createInnerHooks(plugins.hooks, cluster)
        handle = withPlugins(ctx, { plugins, inner: hooks, handle })
      }
      await migrate(db)
      if (config.adminToken) await putAdminToken(db, 'admin', hashToken(config.adminToken))
      await cluster.refresh()
      // Clients of the line protocol may connect; their queries wait until the first answer can know
      // which devices can be written to.
      await wire.start()
      await monitor.round()
      const workers = [
        monitor,
        createRefreshWorker(ctx),
        createReplicateWorker(ctx),
        createReviewWorker(ctx),
        createDeleteWorker(ctx),
        createExpireWorker(ctx),
        createFsckWorker(ctx),
        createReaper(ctx),
        createRebalanceWorker(ctx),
        createUpkeepWorker(ctx),
        createScrubWorker(ctx),
        createSweepWorker(ctx),
      ]
      for (const worker of workers) jobs.add(worker)
      http = await createHttpFront(ctx)
      await http.listen({ host: httpListen.host, port: httpListen.port, backlog: 1024 })
      jobs.begin()
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
        wire: wire.addresses.map(formatAddress).join(),
      }
    },
  }
}
