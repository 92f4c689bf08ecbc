import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

t.test('a device that is marked dead is emptied', async t => {
  const cluster = await startCluster(t, {
    hosts: 3,
    trackers: 2,
    classes: { one: 1 },
    settings: { reaper_delay_seconds: '1', queue_rate_for_reaper: '4' },
  })
  const { api, client } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  const files = Array.from({ length: 12 }, (_, n) => `file/${n}`)
  for (const key of files) await client.put(key, `content of ${key}`, { durability: 'everywhere' })
  await cluster.settled()
  const stat = (key: string) => api.stat({ domain: 'test', key })
  const holders = (await Promise.all(files.map(stat))).filter(({ devids }) => devids.includes(1))
  t.ok(holders.length > 0)

  await api.changeDevice(1, { status: 'dead' })
  await until('no file is on it', async () => {
    const [row] = await sql<{ count: number }>(
      'select count(*) as count from file where devids @> array[1]',
    )
    return row?.count === 0
  })
  await cluster.settled()
  for (const key of files) {
    const { fid, devids } = await stat(key)
    t.strictSame(new Set(devids), new Set([2, 3]), key)
    const found = (await replicasOf(cluster, fid)).filter(path => !path.startsWith('dev1/'))
    t.equal(found.length, 2, 'both are there')
    t.equal(await (await client.get(key)).text(), `content of ${key}`)
  }

  await api.changeDevice(1, { status: 'down' })
  await api.changeDevice(1, { status: 'alive' })
  await until('it takes files again', async () =>
    (await api.listDevices()).every(({ observed }) => observed === 'writeable'),
  )
  await client.put('again', 'hello', { class: 'one' })
})
