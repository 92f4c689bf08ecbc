/** A whole cluster in this process, on free ports, with its files in a directory of the test. */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createClient, createTrackerApi, type Client, type TrackerApi } from '../../client/index.ts'
import { createLogger, type Logger } from '../../common/log.ts'
import { hostSecret } from '../../common/signing.ts'
import { registerNodes, untilWriteable } from '../../deploy/up/register.ts'
import { createStorageNode, type StorageNode } from '../../storage-node/index.ts'
import { lateSeconds } from '../../tracker/store/jobs.ts'
import { createTracker, type Tracker, type TrackerConfig } from '../../tracker/index.ts'
import { directory } from './directory.ts'
import { testDatabase } from './postgres.ts'
import { until } from './until.ts'

export interface ClusterOptions {
  readonly hosts?: number
  /** Per host. */
  readonly devices?: number
  readonly trackers?: number
  readonly open?: boolean
  /** Other settings of the trackers. */
  readonly tracker?: Partial<TrackerConfig>
  /** Classes of the domain `test`, with their mindevcount. The default class, with 2 copies, is always there. */
  readonly classes?: Readonly<Record<string, number>>
  readonly settings?: Readonly<Record<string, string>>
}

export interface Node {
  readonly name: string
  readonly root: string
  readonly devids: readonly number[]
  /** The running service. `restart` replaces it. */
  service: StorageNode
  close(): Promise<void>
  /** Starts it again, on the same address. */
  restart(): Promise<void>
}

export interface Cluster {
  readonly databaseUrl: string
  readonly secret: string
  readonly token: string
  readonly trackers: readonly Tracker[]
  /** HTTP URL of the first tracker. */
  readonly http: string
  /** HOST:PORT of the first tracker's line protocol. */
  readonly wire: string
  readonly nodes: readonly Node[]
  /** A client of the domain `test`, with the admin token. */
  readonly client: Client
  readonly api: TrackerApi
  /** Resolves when the queues are empty. */
  settled(): Promise<void>
  /** Paths of all replicas on disk, below the nodes' roots: `dev1/0/000/000/0000000001.fid`. */
  replicas(): Promise<string[]>
}

const secret = 'test-cluster-secret-of-enough-bytes-0123456789'
const token = 'test-admin-token-of-enough-bytes-0123456789'

/** Settings of a tracker on free ports, with the defaults of `omg tracker`. */
export const trackerConfig = (
  config: Pick<TrackerConfig, 'databaseUrl'> & Partial<TrackerConfig>,
): TrackerConfig => ({
  httpListen: '127.0.0.1:0',
  wireListen: '127.0.0.1:0',
  wireAllow: '',
  wireMaxConnections: 4096,
  wireMaxConnectionsPerAddress: 1024,
  noJobMaster: false,
  plugins: '',
  secret,
  open: false,
  logLevel: 'error',
  ...config,
})

/** Starts a cluster; `t`'s teardown closes all of it. */
export async function startCluster(t: Test, options: ClusterOptions = {}): Promise<Cluster> {
  const { hosts = 3, devices = 1, open = false } = options
  const log = createLogger('test', { level: 'error', fd: 2 })
  const { url: databaseUrl } = await testDatabase(t)
  const dir = await directory(t)
  const nodes = await Promise.all(
    Array.from({ length: hosts }, (_, h) => {
      const devids = Array.from({ length: devices }, (__, d) => h * devices + d + 1)
      return startNode({ dir, name: `node${h + 1}`, devids, open, log })
    }),
  )
  const trackers = await Promise.all(
    Array.from({ length: options.trackers ?? 1 }, async () => {
      const config = { databaseUrl, adminToken: token, open, ...options.tracker }
      const tracker = createTracker(trackerConfig(config), log)
      await tracker.start()
      return tracker
    }),
  )
  const urls = trackers.map(tracker => `http://${tracker.listening()['http']}`)
  const client = createClient({ trackers: urls, token, domain: 'test' })
  t.teardown(async () => {
    await client.close()
    await Promise.all(trackers.map(tracker => tracker.close()))
    await Promise.all(nodes.map(node => node.close()))
  })
  await configure(client.api, { options, nodes, urls })
  return {
    databaseUrl,
    secret,
    token,
    trackers,
    http: urls[0]!,
    wire: trackers[0]!.listening()['wire']!,
    nodes,
    client,
    api: client.api,
    async settled() {
      // Bytes of a copy that broke off are deleted once nobody can record that copy any more.
      const patienceMs = (lateSeconds + 60) * 1000
      const isEmpty = async (): Promise<boolean> => {
        const { queues } = await client.api.status()
        return queues.replicate.waiting + queues.delete.waiting === 0
      }
      await until('the queues are empty', isEmpty, patienceMs)
    },
    async replicas() {
      const found = await Promise.all(
        nodes.map(async ({ root }) =>
          (await readdir(root, { recursive: true })).filter(path => path.endsWith('.fid')),
        ),
      )
      return found.flat().sort()
    },
  }
}

async function startNode({
  dir,
  name,
  devids,
  open,
  log,
}: {
  dir: string
  name: string
  devids: readonly number[]
  open: boolean
  log: Logger
}): Promise<Node> {
  const root = join(dir, name)
  for (const devid of devids) await mkdir(join(root, `dev${devid}`), { recursive: true })
  let listen = '127.0.0.1:0'
  const create = (): StorageNode => {
    const own = { secret: hostSecret(secret, name), logLevel: 'error' } as const
    return createStorageNode({ listen, root, name, open, ...own }, log)
  }
  const node: Node = {
    name,
    root,
    devids,
    service: create(),
    close: () => node.service.close(),
    async restart() {
      await node.service.close()
      node.service = create()
      await node.service.start()
    },
  }
  await node.service.start()
  listen = node.service.listening()['http'] ?? listen
  return node
}

/** Settings, nodes, domain and classes; resolves when every tracker can write to all devices. */
async function configure(
  api: TrackerApi,
  {
    options: { settings = {}, classes = {} },
    nodes,
    urls,
  }: { options: ClusterOptions; nodes: readonly Node[]; urls: readonly string[] },
): Promise<void> {
  for (const [name, value] of Object.entries(settings)) await api.putSetting(name, value)
  const registered = nodes.map(({ name, devids, service }) => ({
    name,
    devids,
    address: service.listening()['http'] ?? '',
  }))
  await registerNodes(api, registered)
  await api.createDomain('test')
  for (const [name, mindevcount] of Object.entries(classes)) {
    await api.createClass('test', { name, mindevcount })
  }
  for (const url of urls) {
    const one = createTrackerApi({ trackers: [url], token })
    await untilWriteable(one, registered, AbortSignal.timeout(60_000))
    await one.close()
  }
}
