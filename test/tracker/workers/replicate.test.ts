import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile())
  return Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')))
}

t.test('a file gets the copies that its class asks for, on distinct hosts', async t => {
  const cluster = await startCluster(t, { hosts: 3, devices: 2, classes: { three: 3 } })
  const files = Array.from({ length: 12 }, (_, i) => ({
    key: `k${i}`,
    class: i % 2 ? 'three' : 'default',
  }))
  for (const { key, class: name } of files) {
    const { copies } = await cluster.client.put(key, `bytes of ${key}`, {
      class: name,
      durability: 'fast',
    })
    t.equal(copies, 1)
  }
  await cluster.settled()
  for (const { key, class: name } of files) {
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key })
    const hosts = new Set(devids.map(devid => Math.floor((devid - 1) / 2)))
    const wanted = name === 'three' ? 3 : 2
    t.strictSame([devids.length, hosts.size], [wanted, wanted], key)
    t.strictSame(
      await replicasOf(cluster, fid),
      devids.map(devid => replicaPath({ devid, fid }).slice(1)).sort(),
    )
  }
  t.equal((await cluster.replicas()).length, 6 * 2 + 6 * 3, 'and there is nothing else')
})

t.test('a file outlives the device it was uploaded to', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  await cluster.client.put('key', 'hello', { durability: 'fast' })
  const { devids } = await cluster.api.stat({ domain: 'test', key: 'key' })
  await cluster.settled()
  const [node] = cluster.nodes.filter(node => node.devids.includes(devids[0] ?? 0))
  await node?.close()
  t.equal(await (await cluster.client.get('key')).text(), 'hello')
})

t.test('a job that cannot be done says why, and is done when it can', async t => {
  const cluster = await startCluster(t, { hosts: 2, classes: { single: 1 } })
  const sql = await openSql(t, cluster.databaseUrl)
  const job = async (fid: number) => {
    type Job = { last_error: string | null; attempts: number; wait: number }
    const [row] = await sql<Job>(
      `select last_error, attempts, extract(epoch from next_try - now())::int as wait
       from replicate_job where fid = $1`,
      [fid],
    )
    return row
  }
  const fail = (fid: number): Promise<Awaited<ReturnType<typeof job>>> =>
    until('the job has failed', async () => {
      const row = await job(fid)
      return row?.last_error == null ? undefined : row
    })
  const tryNow = (fid: number) =>
    sql('update replicate_job set next_try = now() where fid = $1', [fid])
  const copiesOf = async (fid: number): Promise<number> => (await replicasOf(cluster, fid)).length

  t.test('no device takes files', async t => {
    await cluster.client.put('waiting', 'hello', { durability: 'fast', class: 'single' })
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key: 'waiting' })
    const other = devids[0] === 1 ? 2 : 1
    await cluster.api.changeDevice(other, { status: 'readonly' })
    await cluster.api.change({ domain: 'test', key: 'waiting' }, { class: 'default' })
    const failed = await fail(fid)
    t.equal(failed?.last_error, 'no device takes new files')
    t.ok((failed?.wait ?? 0) > 5 && (failed?.wait ?? 0) <= 18, 'the first wait is about 15 seconds')
    t.equal((await cluster.api.status()).queues.replicate.lastError, failed?.last_error)

    await tryNow(fid)
    const again = await until('it was tried again', async () => {
      const row = await job(fid)
      return row && row.attempts > 1 && row.wait > 18 && row.wait < 100 ? row : undefined
    })
    t.ok(again.wait > 40, 'the second wait is about a minute')

    await cluster.api.changeDevice(other, { status: 'alive' })
    await tryNow(fid)
    await cluster.settled()
    t.equal(await copiesOf(fid), 2)
  })

  t.test('other bytes lie where the copy belongs', async t => {
    await cluster.client.put('blocked', 'hello', { durability: 'fast', class: 'single' })
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key: 'blocked' })
    const other = devids[0] === 1 ? 2 : 1
    const root = cluster.nodes.find(node => node.devids.includes(other))?.root ?? ''
    const path = join(root, replicaPath({ devid: other, fid }))
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'nobody owns it')
    await cluster.api.change({ domain: 'test', key: 'blocked' }, { class: 'default' })
    t.match((await fail(fid))?.last_error, /failed just now/)
    t.strictSame(await filesBelow(join(root, `dev${other}/quarantine`)), ['nobody owns it'])
    await tryNow(fid)
    await cluster.settled()
    t.equal(await readFile(path, 'utf8'), 'hello')
  })

  t.test('the only replica has gone bad', async t => {
    await cluster.client.put('bad', 'hello', { durability: 'fast', class: 'single' })
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key: 'bad' })
    const devid = devids[0] ?? 0
    const node = cluster.nodes.find(node => node.devids.includes(devid))
    await writeFile(join(node?.root ?? '', replicaPath({ devid, fid })), 'hallo')
    await cluster.api.change({ domain: 'test', key: 'bad' }, { class: 'default' })
    t.equal((await fail(fid))?.last_error, 'no replica can be read now')
    t.equal(await copiesOf(fid), 1, 'what was copied of it is removed')
    t.strictSame((await cluster.api.stat({ domain: 'test', key: 'bad' })).devids, [devid])
    await until('people are told', async () =>
      (await cluster.api.listDamage()).some(damaged => damaged.fid === fid),
    )
    await cluster.api.remove({ domain: 'test', key: 'bad' })
    await tryNow(fid)
    await until('the job ends with its file', async () => (await job(fid)) === undefined)
  })
})
