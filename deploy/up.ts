/**
 * Runs the whole system on this machine: Postgres, storage nodes, a tracker, the photo application and
 * the reproxy in front of it, with the same functions that run each of them elsewhere.
 */
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createTrackerApi } from '../client/tracker-api/index.ts'
import { ConfigError } from '../common/config.ts'
import { createLogger, type LogLevel, type Logger } from '../common/log.ts'
import { hostSecret } from '../common/signing.ts'
import { program as reproxyProgram } from '../reproxy/main.ts'
import { program as nodeProgram } from '../storage-node/main.ts'
import { program as trackerProgram } from '../tracker/main.ts'
import { program as photoProgram } from './demo/main.ts'
import { startPostgres, type EmbeddedPostgres } from './postgres.ts'
import { keptSecret, lockData, makeDevices } from './up/data-files.ts'
import {
  ensureDomain,
  ensureToken,
  registerNodes,
  untilWriteable,
  type NodeOnDisk,
} from './up/register.ts'
import { createSeparateRun, runInside, type Run, type Running } from './up/run.ts'

export interface UpOptions {
  /** Directory for all files, created if missing. */
  readonly data: string
  /** The ports are at fixed distances above it; 0 takes free ports. */
  readonly portBase: number
  readonly hosts: number
  /** Per host. */
  readonly devices: number
  /** Postgres to use instead of the embedded one. */
  readonly databaseUrl?: string
  /** HOST:PORT of an application to use instead of the photo application. */
  readonly app?: string
  /** Nodes accept unsigned requests, and the line protocol gives out plain URLs. */
  readonly open: boolean
  /** Print the ready line, as JSON, instead of text for people. */
  readonly json: boolean
  /** Each daemon in a process of its own. */
  readonly separate: boolean
  readonly logLevel: LogLevel
}

/** The domain of the photo application. */
const photoDomain = 'photos'

/** The addresses of everything, once it is up. */
export interface ReadyLine {
  readonly ready: true
  readonly wire: string
  readonly http: string
  readonly reproxy: string
  readonly storage: string[]
  readonly token: string
  readonly pids: Record<string, number>
}

/** Ctrl-C, the stop of a service manager, and a terminal that is closed. */
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs the system until a signal, and resolves when all of it has ended. Without `separate`, everything
 * but Postgres runs in this process. With it, each daemon has a process of its own, and the tracker, the
 * application and the reproxy are restarted when they die. A storage node that dies stays dead until
 * SIGUSR2, so that one can watch how the cluster copes. Throws ConfigError, or an Error when something
 * does not start; then nothing is left running.
 */
export async function up(options: UpOptions): Promise<void> {
  const log = createLogger('up', { level: options.logLevel, fd: 2 })
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  for (const signal of endSignals) process.on(signal, onSignal)
  const undo: (() => Promise<void>)[] = []
  const running: Running[] = []
  const onRevive = (): void => {
    for (const daemon of running) {
      daemon.startAgain().catch((err: unknown) => log.error({ err }, 'not started again'))
    }
  }
  process.on('SIGUSR2', onRevive)
  try {
    const ready = await start(options, { log, undo, running, signal: stop.signal })
    announce(options, ready)
    await untilAborted(stop.signal)
    if (!options.json) process.stderr.write('Stopping …\n')
  } catch (err) {
    if (!stop.signal.aborted) throw err
  } finally {
    for (const step of undo.reverse()) {
      await step().catch((err: unknown) => log.error({ err }, 'did not stop cleanly'))
    }
    for (const signal of endSignals) process.off(signal, onSignal)
    process.off('SIGUSR2', onRevive)
  }
}

interface Starting {
  readonly log: Logger
  /** Gets a step for everything that was started, which undoes it. They are run in reverse order. */
  readonly undo: (() => Promise<void>)[]
  /** Gets every daemon that runs. */
  readonly running: Running[]
  readonly signal: AbortSignal
}

async function start(
  options: UpOptions,
  { log, undo, running, signal }: Starting,
): Promise<ReadyLine> {
  const { open, portBase, logLevel } = options
  const data = resolve(options.data)
  await mkdir(data, { recursive: true })
  undo.push(await lockData(data))
  const secret = await keptSecret(join(data, 'cluster-secret'))
  const token = await keptSecret(join(data, 'admin-token'))
  const layout = await makeDevices(data, options)
  const listen: Listen = offset => `127.0.0.1:${portBase === 0 ? 0 : portBase + offset}`

  let postgres: EmbeddedPostgres | undefined
  if (options.databaseUrl === undefined) {
    postgres = await startPostgres({ dir: join(data, 'postgres'), log })
    undo.push(() => postgres!.close())
  }
  const runOne: Run = options.separate ? createSeparateRun(log) : runInside
  const run: Run = async (program, what) => {
    signal.throwIfAborted()
    const flags = { ...what.flags, '--log-level': logLevel }
    const started = await runOne(program, { ...what, flags }).catch((err: unknown) => {
      throw explain(err, what.name)
    })
    undo.push(() => started.stop())
    running.push(started)
    return started
  }

  const nodes = await startNodes(run, layout, { open, secret, listen })
  const tracker = await run(trackerProgram, {
    name: 'tracker',
    flags: { '--wire-listen': listen(1), '--http-listen': listen(2), '--open': open },
    env: {
      DATABASE_URL: options.databaseUrl ?? postgres?.url ?? '',
      OMG_TRACKER_SECRET: secret,
      OMG_TRACKER_ADMIN_TOKEN: token,
    },
    listenFlags: { wire: '--wire-listen', http: '--http-listen' },
    restart: true,
  })
  const http = `http://${addressOf(tracker, 'http')}`
  const photoToken = await setUpCluster(nodes, {
    http,
    token,
    tokenFile: join(data, 'photo-token'),
    signal,
  })
  const app = options.app ?? (await startPhotos(run, { http, photoToken }))
  const reproxy = await run(reproxyProgram, {
    name: 'reproxy',
    flags: { '--listen': listen(80), '--app': app, '--tracker': http },
    env: { OMG_REPROXY_TRACKER_TOKEN: photoToken },
    listenFlags: { http: '--listen' },
    restart: true,
  })
  const pids = running.flatMap(daemon => {
    const pid = daemon.pid()
    return pid === undefined ? [] : [[daemon.name, pid] as const]
  })
  return {
    ready: true,
    wire: addressOf(tracker, 'wire'),
    http,
    reproxy: `http://${addressOf(reproxy, 'http')}`,
    storage: nodes.map(({ address }) => `http://${address}`),
    token,
    pids: {
      up: process.pid,
      ...(postgres ? { postgres: postgres.pid() } : {}),
      ...Object.fromEntries(options.separate ? pids : []),
    },
  }
}

/** An address to listen on, so far above the port base, or with a free port. */
type Listen = (offset: number) => string

async function startNodes(
  run: Run,
  layout: readonly { name: string; root: string; devids: number[] }[],
  { open, secret, listen }: { open: boolean; secret: string; listen: Listen },
): Promise<NodeOnDisk[]> {
  const nodes: NodeOnDisk[] = []
  for (const [i, { name, root, devids }] of layout.entries()) {
    const node = await run(nodeProgram, {
      name: `storage-${name}`,
      flags: { '--listen': listen(500 + 10 * i), '--root': root, '--name': name, '--open': open },
      // Enough threads that a disk which hangs does not block the others.
      env: { OMG_STORAGE_NODE_SECRET: hostSecret(secret, name), UV_THREADPOOL_SIZE: '16' },
      listenFlags: { http: '--listen', side: '--side-listen' },
      restart: false,
    })
    nodes.push({ name, devids, address: addressOf(node, 'http') })
  }
  return nodes
}

/** Registers the nodes and creates the domain of the photo application; returns the token for it. */
async function setUpCluster(
  nodes: readonly NodeOnDisk[],
  {
    http,
    token,
    tokenFile,
    signal,
  }: { http: string; token: string; tokenFile: string; signal: AbortSignal },
): Promise<string> {
  const api = createTrackerApi({ trackers: [http], token })
  try {
    await registerNodes(api, nodes)
    await ensureDomain(api, photoDomain)
    await untilWriteable(api, nodes, signal)
    const wanted = { name: 'photo-app', scope: 'write', domain: photoDomain } as const
    return await ensureToken(api, tokenFile, wanted)
  } finally {
    await api.close()
  }
}

async function startPhotos(
  run: Run,
  { http, photoToken }: { http: string; photoToken: string },
): Promise<string> {
  const photos = await run(photoProgram, {
    name: 'photo-app',
    flags: { '--listen': '127.0.0.1:0', '--trackers': http, '--domain': photoDomain },
    env: { OMG_PHOTOS_TOKEN: photoToken },
    listenFlags: { http: '--listen' },
    restart: true,
  })
  return addressOf(photos, 'http')
}

function addressOf({ name, listening }: Running, what: string): string {
  const address = listening[what]
  if (address === undefined) throw new Error(`${name} does not listen as ${what}`)
  return address
}

function explain(err: unknown, name: string): unknown {
  const { code, port } = err as { code?: string; port?: number }
  if (code !== 'EADDRINUSE') return err
  return new ConfigError(`--port-base: port ${port} of ${name} is taken; choose another base`)
}

function announce({ json, data, app }: UpOptions, ready: ReadyLine): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(ready)}\n`)
    return
  }
  const token = join(resolve(data), 'admin-token')
  const rows = [
    [app === undefined ? 'Photos' : 'Web site', `${ready.reproxy}/`],
    ['Tracker API', `${ready.http}/openapi.json`],
    ['MogileFS clients', ready.wire],
    ['Storage nodes', ready.storage.join('\n                    ')],
    ['Admin token', token],
  ]
  // These are what omg uses by default when it runs in this folder, so no login is needed.
  if (ready.http !== 'http://127.0.0.1:7002' || token !== resolve('data/admin-token')) {
    const file = token.includes(' ') ? `'${token}'` : token
    rows.push(['To use omg', `omg login --trackers ${ready.http} --token-file ${file}`])
  }
  const lines = rows.map(([what, where]) => `  ${what?.padEnd(18)}${where}`)
  process.stdout.write(`\nomgfiles is up.\n\n${lines.join('\n')}\n\nCtrl-C stops it all.\n`)
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
