import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createClient } from '../../../client/index.ts'
import { replicaPath } from '../../../common/layout.ts'
import { leaseSeconds } from '../../../tracker/store/jobs.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

/** Every file is where its row says, as often as its class asks for, and nowhere else. */
async function intact(cluster: Cluster, keys: readonly string[]): Promise<string[]> {
  const wrong: string[] = []
  for (const key of keys) {
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key })
    const expected = devids.map(devid => replicaPath({ devid, fid }).slice(1)).sort()
    const found = await replicasOf(cluster, fid)
    if (devids.length !== 2 || found.join() !== expected.join()) wrong.push(key)
    if ((await (await cluster.client.get(key)).text()) !== key) wrong.push(key)
  }
  return wrong
}

const fill = async (cluster: Cluster, count: number): Promise<string[]> => {
  const keys = Array.from({ length: count }, (_, n) => `file/${n}`)
  for (const key of keys) await cluster.client.put(key, key, { durability: 'everywhere' })
  await cluster.settled()
  return keys
}

t.test('rebalance empties what its policy names, and gives the device back', async t => {
  const cluster = await startCluster(t, {
    hosts: 3,
    devices: 2,
    trackers: 2,
    settings: { delete_grace_seconds: '0', queue_rate_for_rebal: '10' },
  })
  const { api } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  const keys = await fill(cluster, 30)
  const on = async (devid: number): Promise<number> => {
    const [row] = await sql<{ count: number }>(
      'select count(*) as count from file where devids @> array[$1::int]',
      [devid],
    )
    return row?.count ?? 0
  }
  t.ok((await on(1)) > 0)
  await api.setRebalancePolicy('from_devices=1 fid_age=old')
  const before = await on(1)
  const { amounts, ...selected } = await api.testRebalance()
  t.strictSame(selected, { sources: [1], destinations: [2, 3, 4, 5, 6] })
  t.match(amounts, [{ devid: 1, files: before }])
  await api.startRebalance()
  const { progress } = await until('it is over', async () => {
    const status = await api.rebalanceStatus()
    return status.running ? undefined : status
  })
  t.strictSame(progress?.completed, [1])
  await until('all moves are done', async () => (await on(1)) === 0)
  await cluster.settled()
  t.strictSame(await intact(cluster, keys), [])
  await until('the device is what it was', async () =>
    (await api.listDevices()).every(({ status }) => status === 'alive'),
  )
})

t.test('a device is emptied on request, and says when it may be pulled', async t => {
  const cluster = await startCluster(t, {
    hosts: 3,
    trackers: 2,
    settings: { delete_grace_seconds: '0' },
  })
  const { api } = cluster
  const keys = await fill(cluster, 20)
  const statusOf = async (devid: number) =>
    (await api.listDevices()).find(device => device.devid === devid)?.status

  await api.changeDevice(3, { status: 'drain' })
  await cluster.settled()
  t.strictSame(await api.listDrains(), [], 'the state alone moves nothing')
  await api.changeDevice(3, { status: 'alive' })

  const upload = await until('one is opened for it', async () => {
    const opened = await api.openUpload({ domain: 'test', key: 'late' }, { durability: 'fast' })
    return opened.targets.some(({ devid }) => devid === 1) ? opened.upload : undefined
  })
  await api.drainDevice(1)
  await until('every tracker knows', async () => (await statusOf(1)) === 'drain')
  const first = await until('nothing is left there', async () => {
    const [drained] = await api.listDrains()
    return drained?.files === 0 && drained.moves === 0 ? drained : undefined
  })
  t.notOk(first.empty, 'a file may still come')
  await until('it waits for the uploads alone', async () => {
    const [drained] = await api.listDrains()
    return drained?.uploads === 1 && !drained.empty
  })
  await api.abandonUpload({ domain: 'test', upload })
  await until('it waits for none', async () => (await api.listDrains())[0]?.uploads === 0)
  const sql = await openSql(t, cluster.databaseUrl)
  await sql(`update drain set requested_at = requested_at - interval '15 seconds'`)
  const [drain] = await until('it is empty, as every tracker knows', async () => {
    const drains = await api.listDrains()
    return drains[0]?.empty ? drains : undefined
  })
  t.match(drain, { devid: 1, host: 'node1', files: 0, bytes: 0, moves: 0, trash: 0 })
  await cluster.settled()
  t.strictSame(await intact(cluster, keys), [])
  t.notOk((await cluster.replicas()).some(path => path.startsWith('dev1/')))

  await api.undrainDevice(1)
  await until('it is what it was', async () => (await statusOf(1)) === 'alive')
  t.strictSame(await api.listDrains(), [])
  await t.rejects(api.undrainDevice(1), { code: 'not_draining' })
  await t.rejects(api.drainDevice(99), { code: 'no_device' })
  await api.changeDevice(1, { status: 'down' })
  await t.rejects(api.drainDevice(1), { code: 'invalid_state' })
  await api.changeDevice(1, { status: 'alive' })

  await api.drainHost('node2')
  t.match(await api.listDrains(), [{ devid: 2, host: 'node2' }])
  await api.changeDevice(2, { status: 'alive' })
  await until('another status calls it off', async () => (await api.listDrains()).length === 0)
  await t.rejects(api.undrainHost('node2'), { code: 'not_draining' })
  await t.rejects(api.drainHost('nobody'), { code: 'host_not_found' })
})

t.test('bytes that are to be removed first do not make a move wait long', async t => {
  const cluster = await startCluster(t, { hosts: 3, settings: { delete_grace_seconds: '0' } })
  const { api } = cluster
  const [key] = await fill(cluster, 1)
  const sql = await openSql(t, cluster.databaseUrl)
  const [file] = await sql<{ from: number; other: number }>(`
    select devids[1] as from, (select id from device where id <> all (devids)) as other
    from file where key = '${key}'`)
  await sql(`
    insert into delete_job (fid, slot, devids, next_try)
    select fid, slot, array[${file?.other}], now() + interval '1 hour' from file where key = '${key}'`)
  await api.drainDevice(file?.from ?? 0)
  const move = async (): Promise<
    { attempts: number; wait: number; last_error: string } | undefined
  > =>
    (
      await sql<{ attempts: number; wait: number; last_error: string }>(`
        select attempts, last_error, extract(epoch from next_try - now())::float8 as wait
        from rebalance_job where last_error is not null`)
    )[0]
  await until('it was tried', move)
  await sql('update rebalance_job set next_try = now(), attempts = 6')
  const again = await until('it was tried again', async () => {
    const job = await move()
    return job?.attempts === 7 && job.wait < 60 ? job : undefined
  })
  t.ok(again.wait <= 15, `waits ${again.wait} s`)
  await sql('update delete_job set next_try = now()')
  await until('it is empty', async () => {
    const [drain] = await api.listDrains()
    return drain?.files === 0 && drain.moves === 0
  })
  await cluster.settled()
  t.strictSame(await intact(cluster, [String(key)]), [])
})

t.test('a replica does not leave on the word of another one whose bytes are wrong', async t => {
  const cluster = await startCluster(t, {
    hosts: 3,
    classes: { three: 3 },
    settings: { delete_grace_seconds: '0', trim_after: '3600' },
  })
  const { api, client } = cluster
  await client.put('key', 'good bytes', { class: 'three', durability: 'everywhere' })
  await cluster.settled()
  const { fid } = await api.stat({ domain: 'test', key: 'key' })
  for (const [i, node] of cluster.nodes.entries()) {
    if (i > 0) await writeFile(join(node.root, replicaPath({ devid: i + 1, fid })), 'wrong byte')
  }
  const sql = await openSql(t, cluster.databaseUrl)
  // Two are enough, so nothing is to be copied: what is left to look at are the two that rotted.
  await sql(`update class set mindevcount = 2 where name = 'three'`)
  await until('the tracker knows', async () => {
    const domains = await api.listDomains()
    return domains.some(({ classes }) =>
      classes.some(({ name, mindevcount }) => name === 'three' && mindevcount === 2),
    )
  })
  await sql(`
    insert into rebalance_job (fid, slot, devid, devids, next_try)
    select fid, slot, 1, '{}', now() from file`)
  const moved = async (): Promise<boolean> =>
    (await sql('select from rebalance_job where last_error is not null')).length > 0
  await until('it was tried', moved)
  t.ok((await api.stat({ domain: 'test', key: 'key' })).devids.includes(1))
  t.equal(
    await readFile(join(cluster.nodes[0]!.root, replicaPath({ devid: 1, fid })), 'utf8'),
    'good bytes',
  )
  await until('what was seen to be wrong is replaced', async () => {
    const { devids } = await api.stat({ domain: 'test', key: 'key' })
    const texts = devids.map(devid => {
      const root = cluster.nodes[devid - 1]!.root
      return readFile(join(root, replicaPath({ devid, fid })), 'utf8').catch(() => '')
    })
    return (await Promise.all(texts)).join() === 'good bytes,good bytes'
  })
})

t.test('trackers share two drains, and one goes on when the other dies', async t => {
  const cluster = await startCluster(t, {
    hosts: 4,
    trackers: 2,
    settings: { delete_grace_seconds: '0', queue_rate_for_rebal: '5' },
  })
  const keys = await fill(cluster, 40)
  const [one, two] = cluster.trackers.map(tracker => {
    const client = createClient({
      trackers: [`http://${tracker.listening()['http']}`],
      token: cluster.token,
      domain: 'test',
    })
    t.teardown(() => client.close())
    return client.api
  })
  await Promise.all([one?.drainDevice(1), two?.drainDevice(2)])
  await until('some have moved', async () => {
    const drains = (await two?.listDrains()) ?? []
    return drains.length === 2 && drains.reduce((sum, { files }) => sum + files, 0) < 38
  })
  await cluster.trackers[0]?.close()
  // What it had claimed falls due when its lease is over: now, but for what it extended last.
  const sql = await openSql(t, cluster.databaseUrl)
  for (const queue of ['rebalance_job', 'replicate_job'])
    await sql(`update ${queue} set next_try = now()`)
  await until(
    'both are empty',
    async () => {
      // That took the other's leases, too; what it copied under them bars its place for long.
      await sql('update delete_job set next_try = now() where next_try > now()')
      const drains = (await two?.listDrains()) ?? []
      return drains.length === 2 && drains.every(({ files, moves }) => files === 0 && moves === 0)
    },
    (leaseSeconds + 120) * 1000,
  )
  await sql('update delete_job set next_try = now()')
  await cluster.settled()
  t.strictSame(await intact(cluster, keys), [])
})

t.test('where there is no other place a drained device keeps its files, and says why', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  const { api } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  const keys = await fill(cluster, 3)
  await api.drainDevice(1)
  const [drain] = await until('a move has failed', async () => {
    const drains = await api.listDrains()
    return drains[0]?.lastError === undefined ? undefined : drains
  })
  t.match(drain, { devid: 1, files: 3, moves: 3, empty: false, lastError: /takes new files/ })
  t.strictSame(await intact(cluster, keys), [])

  t.comment('the last good replica stays, whatever the rows say')
  const { fid } = await api.stat({ domain: 'test', key: keys[0] ?? '' })
  const node = cluster.nodes[1]
  await rm(join(node?.root ?? '', replicaPath({ devid: 2, fid })))
  await api.createClass('test', { name: 'one', mindevcount: 1 })
  await sql(`update file set class_id = (select id from class where name = 'one') where fid = $1`, [
    fid,
  ])
  await until('the tracker knows the class', async () =>
    (await api.listClasses('test')).some(({ name }) => name === 'one'),
  )
  await sql('update rebalance_job set next_try = now(), last_error = null')
  await until('it was tried again', async () => {
    const [row] = await sql<{ last_error: string | null }>(
      'select last_error from rebalance_job where fid = $1',
      [fid],
    )
    return row?.last_error?.includes('no other replica')
  })
  t.equal(await (await cluster.client.get(keys[0] ?? '')).text(), keys[0])
})
