/** A whole cluster in this process, on free ports, below the test's own directory. */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createClient, type Client, type TrackerApi } from '../../client/index.ts'
import { createLogger } from '../../common/log.ts'
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
  /** Copies of the classes of the domain `test`, beside the default one of two. */
  readonly classes?: Readonly<Record<string, number>>
  readonly settings?: Readonly<Record<string, string>>
}

export interface Node {
  readonly name: string
  readonly root: string
  readonly devids: readonly number[]
  /** The service; another one after `restart`. */
  service: StorageNode
  close(): Promise<void>
  /** Starts it again on the address it had. */
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
  /** Of the domain `test`, with an admin token. */
  readonly client: Client
  readonly api: TrackerApi
  /** Resolves when the queues are empty. */
  settled(): Promise<void>
  /** Paths of all replicas on disk, below the nodes' roots: `dev1/0/000/000/0000000001.fid`. */
  replicas(): Promise<string[]>
}

export const adminToken = 'test-admin-token-of-enough-bytes-0123456789'

/** Starts it; `t`'s teardown closes all. */
export async function startCluster(t: Test, options: ClusterOptions = {}): Promise<Cluster> {
  const { hosts = 3, devices = 1, trackers: trackerCount = 1, open = false } = options
  const secret = 'test-cluster-secret-of-enough-bytes-0123456789'
  const log = createLogger('test', { level: 'error', fd: 2 })
  const { url: databaseUrl } = await testDatabase(t)
  const dir = await directory(t)

  const nodes = await Promise.all(
    Array.from({ length: hosts }, async (_, h) => {
      const name = `node${h + 1}`
      const root = join(dir, name)
      const devids = Array.from({ length: devices }, (__, d) => h * devices + d + 1)
      for (const devid of devids) await mkdir(join(root, `dev${devid}`), { recursive: true })
      let listen = '127.0.0.1:0'
      const create = (): StorageNode =>
        createStorageNode(
          { listen, root, name, secret: hostSecret(secret, name), open, logLevel: 'error' },
          log,
        )
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
    }),
  )
  const trackers = await Promise.all(
    Array.from({ length: trackerCount }, async () => {
      const tracker = createTracker(
        {
          databaseUrl,
          httpListen: '127.0.0.1:0',
          wireListen: '127.0.0.1:0',
          wireAllow: '',
          wireMaxConnections: 4096,
          wireMaxConnectionsPerAddress: 1024,
          noJobMaster: false,
          plugins: '',
          secret,
          adminToken,
          open,
          logLevel: 'error',
          ...options.tracker,
        },
        log,
      )
      await tracker.start()
      return tracker
    }),
  )
  const urls = trackers.map(tracker => `http://${tracker.listening()['http']}`)
  const client = createClient({ trackers: urls, token: adminToken, domain: 'test' })
  t.teardown(async () => {
    await client.close()
    await Promise.all(trackers.map(tracker => tracker.close()))
    await Promise.all(nodes.map(node => node.close()))
  })
  const { api } = client
  for (const [name, value] of Object.entries(options.settings ?? {}))
    await api.putSetting(name, value)
  const registered = nodes.map(({ name, devids, service }) => ({
    name,
    devids,
    address: service.listening()['http'] ?? '',
  }))
  await registerNodes(api, registered)
  await api.createDomain('test')
  for (const [name, mindevcount] of Object.entries(options.classes ?? {})) {
    await api.createClass('test', { name, mindevcount })
  }
  for (const url of urls) {
    const one = createClient({ trackers: [url], token: adminToken, domain: 'test' })
    await untilWriteable(one.api, registered, AbortSignal.timeout(60_000))
    await one.close()
  }
  return {
    databaseUrl,
    secret,
    token: adminToken,
    trackers,
    http: urls[0]!,
    wire: trackers[0]!.listening()['wire']!,
    nodes,
    client,
    api,
    async settled() {
      // Bytes of a copy that broke off go when nobody can record it any more.
      const patienceMs = (lateSeconds + 60) * 1000
      const isEmpty = async (): Promise<boolean> => {
        const { queues } = await api.status()
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
