/** Trackers and storage nodes as processes that can be killed and started again one by one. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createClient, type Client } from '../../../client/index.ts'
import { createLogger } from '../../../common/log.ts'
import { hostSecret } from '../../../common/signing.ts'
import { registerNodes, untilWriteable } from '../../../deploy/up/register.ts'
import { createSeparateRun, type Running } from '../../../deploy/up/run.ts'
import { program as nodeProgram } from '../../../storage-node/main.ts'
import { program as trackerProgram } from '../../../tracker/main.ts'
import { directory } from '../../helpers/directory.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { openSql, type Sql } from '../../tracker/database.ts'

export const classes = { one: 1, two: 2, three: 3 } as const
/** The second keeps what is deleted. */
export const domains = ['plain', 'kept'] as const

export interface Soaked {
  readonly token: string
  readonly client: Client
  readonly sql: Sql
  readonly trackers: readonly Member[]
  readonly nodes: readonly NodeMember[]
  /** Directory of a device. */
  readonly pathOf: (devid: number) => string
}

/** A process. What is asked of it is done in this order. */
export interface Member {
  readonly name: string
  readonly alive: boolean
  /** Where it serves, by the name of `Listening`. */
  readonly listening: Running['listening']
  pid(): number | undefined
  kill(): Promise<void>
  start(): Promise<void>
}

export interface NodeMember extends Member {
  readonly devids: readonly number[]
}

export interface SystemOptions {
  readonly trackers: number
  readonly hosts: number
  /** Per host. */
  readonly devices: number
  readonly settings: Readonly<Record<string, string>>
}

const secret = 'soak-cluster-secret-of-enough-bytes-0123456789'
const token = 'soak-admin-token-of-enough-bytes-0123456789'

/** Starts it; `t`'s teardown ends all. */
export async function startSystem(t: Test, options: SystemOptions): Promise<Soaked> {
  const { url } = await testDatabase(t)
  const dir = await directory(t)
  const run = createSeparateRun(createLogger('soak', { level: 'error', fd: 2 }))
  const running: Running[] = []
  t.teardown(() => Promise.all(running.map(one => one.stop())))
  const logLevel = process.env['OMG_SOAK_LOG'] ?? 'silent'

  const nodes = await Promise.all(
    Array.from({ length: options.hosts }, async (_, h) => {
      const name = `node${h + 1}`
      const root = join(dir, name)
      const devids = Array.from({ length: options.devices }, (__, d) => h * options.devices + d + 1)
      for (const devid of devids) await mkdir(join(root, `dev${devid}`), { recursive: true })
      const one = await run(nodeProgram, {
        name,
        flags: {
          '--listen': '127.0.0.1:0',
          '--root': root,
          '--name': name,
          '--log-level': logLevel,
        },
        env: { OMG_STORAGE_NODE_SECRET: hostSecret(secret, name) },
        listenFlags: { http: '--listen', side: '--side-listen' },
        restart: false,
      })
      running.push(one)
      return { one, devids, root }
    }),
  )
  const trackers = await Promise.all(
    Array.from({ length: options.trackers }, async (_, i) => {
      const one = await run(trackerProgram, {
        name: `tracker${i + 1}`,
        flags: {
          '--http-listen': '127.0.0.1:0',
          '--wire-listen': '127.0.0.1:0',
          '--log-level': logLevel,
        },
        env: { DATABASE_URL: url, OMG_TRACKER_SECRET: secret, OMG_TRACKER_ADMIN_TOKEN: token },
        listenFlags: { wire: '--wire-listen', http: '--http-listen' },
        restart: false,
      })
      running.push(one)
      return one
    }),
  )
  const client = createClient({
    trackers: trackers.map(one => `http://${one.listening['http']}`),
    token,
    domain: domains[0],
    budgetMs: 2_000,
  })
  t.teardown(() => client.close())
  const sql = await openSql(t, url)
  const { api } = client
  for (const [name, value] of Object.entries(options.settings)) await api.putSetting(name, value)
  const registered = nodes.map(({ one, devids }) => ({
    name: one.name,
    devids,
    address: one.listening['http'] ?? '',
  }))
  await registerNodes(api, registered)
  for (const domain of domains) {
    await api.createDomain(domain)
    for (const [name, mindevcount] of Object.entries(classes)) {
      await api.createClass(domain, { name, mindevcount })
    }
  }
  await api.changeDomain('kept', { trashSeconds: 3600 })
  await untilWriteable(api, registered, AbortSignal.timeout(60_000))
  const rootOf = new Map(nodes.flatMap(({ devids, root }) => devids.map(devid => [devid, root])))
  return {
    token,
    client,
    sql,
    trackers: trackers.map(member),
    nodes: nodes.map(({ one, devids }) => Object.assign(member(one), { devids })),
    pathOf: devid => join(rootOf.get(devid) ?? '', `dev${devid}`),
  }
}

function member(one: Running): Member {
  let last: Promise<void> = Promise.resolve()
  let alive = true
  const queue = (work: () => Promise<void>): Promise<void> => (last = last.then(work))
  return {
    name: one.name,
    listening: one.listening,
    pid: () => one.pid(),
    get alive() {
      return alive
    },
    kill: () =>
      queue(async () => {
        const pid = one.pid()
        alive = false
        if (pid === undefined) return
        process.kill(pid, 'SIGKILL')
        await until(`${one.name} has ended`, () => one.pid() === undefined)
      }),
    start: () =>
      queue(async () => {
        await one.startAgain()
        alive = true
      }),
  }
}
