import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startCluster, type Cluster, type Node } from '../../helpers/cluster.ts'
import { connectWire } from '../../bench/wire.ts'
import { until } from '../../helpers/until.ts'
import { openSql, type Sql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

const count = 40

async function putFiles(cluster: Cluster): Promise<number[]> {
  const keys = Array.from({ length: count }, (_, i) => `k${i}`)
  await Promise.all(keys.map(key => cluster.client.put(key, `bytes of ${key}`)))
  await cluster.settled()
  return Promise.all(keys.map(async key => (await cluster.api.stat({ domain: 'test', key })).fid))
}

/** How many copies the files have in the rows, those on `devid` left out. */
async function copiesBeside(sql: Sql, devid: number): Promise<number[]> {
  const rows = await sql<{ copies: number }>(
    `select distinct cardinality(array_remove(devids, $1::int)) as copies from file order by 1`,
    [devid],
  )
  return rows.map(({ copies }) => copies)
}

/** Has the monitor look at once, whoever waits for what it sees. */
async function look(cluster: Cluster): Promise<void> {
  const wire = await connectWire(cluster.wire)
  await wire.ask('!to monitor :wake_up')
  wire.close()
}

async function lostDevices(cluster: Cluster): Promise<number[]> {
  await look(cluster)
  return (await cluster.api.status()).healing.lost.map(({ devid }) => devid)
}

const listed = (devids: readonly number[]): string => devids.toSorted((a, b) => a - b).join()

async function allWhole(cluster: Cluster, sql: Sql, fids: readonly number[]): Promise<boolean> {
  const rows = await sql<{ fid: number; devids: number[] }>('select fid, devids from file')
  for (const { fid, devids } of rows) {
    const onDisk = (await replicasOf(cluster, fid)).map(path => Number(/^dev(\d+)/.exec(path)?.[1]))
    if (listed(onDisk) !== listed(devids) || devids.length !== 2) return false
  }
  return rows.length === fids.length
}

t.test(
  'the files of a host that stays away are copied anew, and trimmed when it is back',
  async t => {
    const cluster = await startCluster(t, {
      hosts: 4,
      settings: { lost_after: '1', trim_after: '1', delete_grace_seconds: '0' },
    })
    const sql = await openSql(t, cluster.databaseUrl)
    const fids = await putFiles(cluster)
    const [gone] = cluster.nodes as [Node]
    const devid = gone.devids[0]!
    t.ok(fids.length === count && (await copiesBeside(sql, devid)).includes(1))

    await gone.close()
    await until('it is treated as lost', async () => (await lostDevices(cluster)).includes(devid))
    await until('every file has two copies elsewhere', async () =>
      (await copiesBeside(sql, devid)).every(copies => copies === 2),
    )
    const { healing, devices } = await cluster.api.status()
    t.equal(devices.find(device => device.devid === devid)?.lost, true)
    t.match(devices.find(device => device.devid === devid)?.problem, /ECONNREFUSED|closed|socket/)
    t.equal(healing.waiting, undefined)
    await until('all is safe', async () => (await cluster.api.status()).healing.secondsToSafe === 0)

    await gone.restart()
    await until('it is back', async () => (await lostDevices(cluster)).length === 0)
    await until('what became too much is gone', async () => {
      await look(cluster)
      return allWhole(cluster, sql, fids)
    })
    for (let i = 0; i < count; i += 7) {
      t.equal(await (await cluster.client.get(`k${i}`)).text(), `bytes of k${i}`)
    }
  },
)

t.test('a disk that vanishes from a host is told from the host', async t => {
  const cluster = await startCluster(t, { hosts: 3, devices: 2, settings: { lost_after: '1' } })
  const sql = await openSql(t, cluster.databaseUrl)
  await putFiles(cluster)
  const path = join(cluster.nodes[0]!.root, 'dev1')
  await rename(path, `${path}-away`)
  await until('it is treated as lost', async () => (await lostDevices(cluster)).includes(1))
  const { hosts } = await cluster.api.status()
  t.strictSame(
    hosts.map(({ observed }) => observed),
    ['reachable', 'reachable', 'reachable'],
  )
  await until('every file has two copies elsewhere', async () =>
    (await copiesBeside(sql, 1)).every(copies => copies === 2),
  )
  await rename(`${path}-away`, path)
  await until('it is back', async () => (await lostDevices(cluster)).length === 0)
})

t.test('repair waits, and says so', async t => {
  const cluster = await startCluster(t, { hosts: 4, settings: { lost_after: '1' } })
  const sql = await openSql(t, cluster.databaseUrl)
  await putFiles(cluster)
  const before = await sql('select fid, devids from file order by fid')
  const [first, second] = cluster.nodes as [Node, Node]
  const waiting = async (why: RegExp): Promise<readonly number[] | undefined> => {
    await look(cluster)
    const { healing } = await cluster.api.status()
    return healing.waiting && why.test(healing.waiting.why) ? healing.waiting.devids : undefined
  }

  t.test('when too many vanish at once', async t => {
    await Promise.all([first.close(), second.close()])
    const devids = await until('two wait', async () => {
      const found = await waiting(/^2 of 4 devices are away, more than 25 %/)
      return found?.length === 2 && found
    })
    t.strictSame(devids, [1, 2])
    t.strictSame(await lostDevices(cluster), [])
    t.strictSame(await sql('select fid, devids from file order by fid'), before)
    await Promise.all([first.restart(), second.restart()])
    await until('nothing waits', async () => (await waiting(/./)) === undefined)
  })

  t.test('while there is maintenance', async t => {
    await cluster.api.putSetting('maintenance', 'on')
    await first.close()
    t.strictSame(await until('it waits', () => waiting(/^maintenance is on$/)), [1])
    t.strictSame(await lostDevices(cluster), [])
    t.strictSame(await sql('select fid, devids from file order by fid'), before)
    await cluster.api.putSetting('maintenance', 'off')
    await until('it is treated as lost', async () => (await lostDevices(cluster)).includes(1))
    await first.restart()
    await until('it is back', async () => (await lostDevices(cluster)).length === 0)
    await cluster.settled()
  })
})

t.test('a node that flaps causes no storm of copies', async t => {
  const cluster = await startCluster(t, {
    hosts: 4,
    settings: { lost_after: '1', trim_after: '60' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  await putFiles(cluster)
  const [node] = cluster.nodes as [Node]
  for (let round = 0; round < 3; round++) {
    await node.close()
    await until('it is treated as lost', async () => (await lostDevices(cluster)).includes(1))
    await until('every file has two copies elsewhere', async () =>
      (await copiesBeside(sql, 1)).every(copies => copies >= 2),
    )
    await node.restart()
    await until('it is back', async () => (await lostDevices(cluster)).length === 0)
  }
  const [row] = await sql<{ most: number }>('select max(cardinality(devids)) as most from file')
  t.equal(row?.most, 3, 'each file was copied once at most')
  t.equal((await cluster.replicas()).length <= count * 3, true)
})
