import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

const settings = { delete_grace_seconds: '0' }

async function copies(cluster: Cluster, fids: readonly number[]): Promise<string> {
  const counts = await Promise.all(fids.map(async fid => (await replicasOf(cluster, fid)).length))
  return [...new Set(counts)].join()
}

t.test('a change of a class takes effect on the files that are there', async t => {
  const cluster = await startCluster(t, { hosts: 3, classes: { photo: 1, other: 1 }, settings })
  const fids: number[] = []
  const others: number[] = []
  for (let i = 0; i < 10; i++) {
    const name = i % 2 ? 'photo' : 'other'
    await cluster.client.put(`k${i}`, `bytes ${i}`, { class: name, durability: 'fast' })
    const { fid } = await cluster.api.stat({ domain: 'test', key: `k${i}` })
    ;(i % 2 ? fids : others).push(fid)
  }
  await cluster.settled()
  const become = async (wanted: string): Promise<void> => {
    await until(`there are ${wanted} copies`, async () => (await copies(cluster, fids)) === wanted)
  }
  t.equal(await copies(cluster, fids), '1')

  await cluster.api.changeClass({ domain: 'test', name: 'photo' }, { mindevcount: 3 })
  await become('3')
  t.equal(await copies(cluster, others), '1', 'files of other classes stay as they are')

  await cluster.api.changeClass(
    { domain: 'test', name: 'photo' },
    { replpolicy: 'MultipleHosts(2)' },
  )
  await become('2')
  await cluster.api.changeClass(
    { domain: 'test', name: 'photo' },
    { replpolicy: 'Union(MultipleHosts(3),)' },
  )
  await become('3')
  await cluster.api.changeClass(
    { domain: 'test', name: 'photo' },
    { mindevcount: 1, replpolicy: 'MultipleHosts()' },
  )
  await become('1')
  for (let i = 0; i < 10; i++) {
    t.equal(await (await cluster.client.get(`k${i}`)).text(), `bytes ${i}`)
  }
})

t.test('no copy is dropped for one that is away, or bad', async t => {
  const cluster = await startCluster(t, { hosts: 3, classes: { photo: 3 }, settings })
  const sql = await openSql(t, cluster.databaseUrl)
  await cluster.client.put('key', 'hello', { class: 'photo', durability: 'everywhere' })
  const { fid, devids } = await cluster.api.stat({ domain: 'test', key: 'key' })
  await cluster.settled()
  const failure = () =>
    until('the job has failed', async () => {
      const [job] = await sql<{ last_error: string | null }>('select last_error from replicate_job')
      return job?.last_error ?? undefined
    })
  const become = (mindevcount: number) =>
    cluster.api.changeClass({ domain: 'test', name: 'photo' }, { mindevcount })
  const [node] = cluster.nodes
  await node?.close()
  await cluster.api.refresh()
  await become(2)
  t.equal(await failure(), 'no copy that is too many can be removed now')
  t.equal((await replicasOf(cluster, fid)).length, 3)
  await node?.restart()
  await until('one goes when all are there', async () => (await copies(cluster, [fid])) === '2')
  await become(3)
  await until('there are three again', async () => (await copies(cluster, [fid])) === '3')
  await cluster.settled()

  const spoil = async (devid: number, text: string): Promise<void> => {
    const node = cluster.nodes.find(one => one.devids.includes(devid))
    await writeFile(join(node?.root ?? '', replicaPath({ devid, fid })), text)
  }
  for (const devid of devids) await spoil(devid, 'hallo')
  await become(1)
  t.match(await failure(), /^device \d: its bytes are others$/)
  t.equal((await replicasOf(cluster, fid)).length, 3, 'all are kept')
  await until('it is checked', async () => (await sql('select from check_job')).length === 0)
  t.match(await cluster.api.listDamage(), [{ fid }], 'and people are told')

  for (const devid of devids) await spoil(devid, 'hello')
  await sql('update replicate_job set next_try = now()')
  await cluster.settled()
  t.equal((await replicasOf(cluster, fid)).length, 1)
  t.equal(await (await cluster.client.get('key')).text(), 'hello')
})
