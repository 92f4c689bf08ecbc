import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import type { FsckLog } from '../../../common/protocol/upkeep.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql, type Sql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

t.setTimeout(600_000)

const body = 'what the file says'

interface Stage {
  readonly cluster: Cluster
  readonly sql: Sql
  /** Stores a file of that class with all its replicas. */
  readonly store: (key: string, name?: string) => Promise<{ fid: number; devids: number[] }>
  readonly pathOf: (devid: number, fid: number) => string
  /** Checks all files once, and returns the events in their order. */
  readonly run: () => Promise<FsckLog>
}

async function stage(t: Test, options: Parameters<typeof startCluster>[1]): Promise<Stage> {
  const settings = { delete_grace_seconds: '0', ...options?.settings }
  const cluster = await startCluster(t, { ...options, settings })
  const sql = await openSql(t, cluster.databaseUrl)
  const { api } = cluster
  return {
    cluster,
    sql,
    async store(key, name = 'default') {
      await cluster.client.put(key, body, { class: name, durability: 'everywhere' })
      await cluster.settled()
      return api.stat({ domain: 'test', key })
    },
    pathOf(devid, fid) {
      const node = cluster.nodes.find(({ devids }) => devids.includes(devid))
      return join(node?.root ?? '', replicaPath({ devid, fid }))
    },
    async run() {
      await api.clearFsckLog()
      await api.resetFsck({})
      await api.startFsck()
      await until('all files are checked', async () => {
        // In this order: nothing is queued any more once it does not run.
        if ((await api.fsckStatus()).running) return false
        const [row] = await sql<{ open: number }>('select count(*) as open from check_job')
        return row?.open === 0
      })
      return api.fsckLog()
    },
  }
}

const events = (log: FsckLog): string[] => log.map(({ event }) => event)

t.test('fsck finds what is wrong and has it mended', async t => {
  const classes = { one: 1, two: 2, three: 3, summed: 2 }
  const { cluster, sql, store, pathOf, run } = await stage(t, { hosts: 3, classes })
  const { api } = cluster
  const fileOf = (key: string) => api.stat({ domain: 'test', key })
  const statusOf = async (event: string) => (await api.fsckStatus()).events[event]
  await api.changeClass({ domain: 'test', name: 'summed' }, { hashtype: 'MD5' })

  t.test('nothing, where all is in order', async t => {
    for (let n = 0; n < 30; n++) await cluster.client.put(`fine/${n}`, body)
    await cluster.settled()
    t.strictSame(await run(), [])
    const { queued, checkedTo, endFid } = await api.fsckStatus()
    t.ok(queued >= 30)
    t.equal(checkedTo, endFid)
  })

  t.test('a file whose place is not known is searched for and found', async t => {
    const { fid, devids } = await store('lost', 'one')
    await sql(`update file set devids = '{}' where fid = $1`, [fid])
    t.strictSame(events(await run()), ['NOPA', 'SRCH', 'FOND'])
    t.strictSame((await fileOf('lost')).devids, devids)
    t.strictSame(await run(), [], 'and then it is in order')
  })

  t.test('a file with too few copies gets what its class asks for', async t => {
    const { fid } = await store('few', 'one')
    await sql(
      `update file set class_id = (select id from class where name = 'two') where fid = $1`,
      [fid],
    )
    t.strictSame(events(await run()), ['POVI', 'REPL'])
    await until('it has two', async () => (await fileOf('few')).devids.length === 2)
    await cluster.settled()
    t.strictSame(await run(), [])
  })

  t.test('a file with too many copies gives one away', async t => {
    const { fid } = await store('many', 'two')
    await sql(
      `update file set class_id = (select id from class where name = 'one') where fid = $1`,
      [fid],
    )
    t.strictSame(events(await run()), ['POVI', 'REPL'])
    await until('one is left', async () => (await fileOf('many')).devids.length === 1)
    await until('its bytes too', async () => (await replicasOf(cluster, fid)).length === 1)
  })

  t.test('a copy that is gone is made again', async t => {
    const { fid, devids } = await store('missing', 'two')
    const [first = 0] = devids
    await rm(pathOf(first, fid))
    t.match(await run(), [
      { event: 'MISS', devid: first, fid },
      { event: 'REPL', fid },
    ])
    await until('it has two', async () => (await replicasOf(cluster, fid)).length === 2)
  })

  t.test('a copy of another length is put right', async t => {
    const { fid, devids } = await store('short', 'three')
    const [first = 0] = devids
    await writeFile(pathOf(first, fid), 'wh')
    t.match(await run(), [{ event: 'BLEN', devid: first }, { event: 'REPL' }])
    await cluster.settled()
    t.strictSame(new Set((await fileOf('short')).devids), new Set(devids))
    await cluster.settled()
    t.strictSame(await run(), [])
  })

  t.test('a file without any copy is given up, and its key stays', async t => {
    const { fid, devids } = await store('gone', 'two')
    for (const devid of devids) await rm(pathOf(devid, fid))
    t.strictSame(events(await run()), ['MISS', 'MISS', 'SRCH', 'GONE'])
    t.strictSame((await fileOf('gone')).devids, [])
    t.match(await api.listDamage(), [{ fid, why: 'no copy of it is left on any device' }])
    t.strictSame(events(await run()), ['NOPA', 'SRCH', 'GONE'])
    t.equal(await statusOf('GONE'), 1)
    await api.remove({ domain: 'test', key: 'gone' })
    t.strictSame(await api.listDamage(), [])
  })

  t.test('of copies with another checksum the wrong one is replaced', async t => {
    const { fid, devids } = await store('summed', 'summed')
    await sql('update file set hashtype = null, checksum = null where fid = $1', [fid])
    t.strictSame(events(await run()), ['NSUM'])
    const [first = 0, second = 0] = devids
    const wrong = body.replace('w', 'W')
    await writeFile(pathOf(first, fid), wrong)
    t.strictSame(events(await run()), ['REPL'])
    await until('it has two', async () => (await fileOf('summed')).devids.length === 2)
    await cluster.settled()
    t.strictSame(await run(), [])

    for (const devid of (await fileOf('summed')).devids) await writeFile(pathOf(devid, fid), wrong)
    t.strictSame(events(await run()), ['BSUM'])
    t.ok((await fileOf('summed')).devids.length === 2, 'nothing is changed')
    await sql('update file set hashtype = null, checksum = null where fid = $1', [fid])
    await writeFile(pathOf(second, fid), wrong.replace('f', 'F'))
    const { devids: now } = await fileOf('summed')
    await writeFile(pathOf(now[0] ?? 0, fid), wrong.replace('f', 'F'))
    await writeFile(pathOf(now[1] ?? 0, fid), wrong)
    t.strictSame(events(await run()), ['BSUM'])
    await api.putSetting('fsck_checksum', 'off')
    t.strictSame(await run(), [], 'off is off')
    await api.putSetting('fsck_checksum', 'MD5')
    t.strictSame(events(await run()), ['MSUM'])
    await api.deleteSetting('fsck_checksum')
    await api.remove({ domain: 'test', key: 'summed' })
  })

  t.test('policy_only looks at no copy', async t => {
    const { fid, devids } = await store('policy', 'two')
    await rm(pathOf(devids[0] ?? 0, fid))
    await api.resetFsck({ policyOnly: true })
    await api.refresh()
    await api.clearFsckLog()
    await api.startFsck()
    await until('it is through', async () => !(await api.fsckStatus()).running)
    t.strictSame(await api.fsckLog(), [])
    t.strictSame(events(await run()), ['MISS', 'REPL'])
    await until('it has two', async () => (await replicasOf(cluster, fid)).length === 2)
  })
})

t.test('a node that does not answer stalls its files until it does', async t => {
  const { cluster, sql, store } = await stage(t, { hosts: 2 })
  const { api } = cluster
  const { fid } = await store('key')
  const [node] = cluster.nodes
  await node?.close()
  await until('it is seen', async () => {
    const devices = await api.listDevices()
    return devices.some(({ observed }) => observed === 'unreachable')
  })
  await api.startFsck()
  const job = await until('the check has stalled', async () => {
    type Job = { last_error: string | null; wait: number }
    const [row] = await sql<Job>(
      `select last_error, extract(epoch from next_try - now())::int as wait from check_job
       where fid = $1`,
      [fid],
    )
    return row?.last_error == null ? undefined : row
  })
  t.match(job.last_error, /cannot be read now/)
  t.ok(job.wait > 900)
  t.strictSame(await api.fsckLog(), [])
  await node?.restart()
  await until('it is done', async () => {
    const [row] = await sql<{ open: number }>('select count(*) as open from check_job')
    return row?.open === 0
  })
  t.strictSame(await api.fsckLog(), [])
})

t.test('what a dead device held is replaced without a word about it', async t => {
  const { cluster, store, run } = await stage(t, {
    hosts: 3,
    settings: { reaper_delay_seconds: '100000' },
  })
  const { api } = cluster
  const { fid, devids } = await store('key')
  const [dead = 0] = devids
  await api.changeDevice(dead, { status: 'dead' })
  t.match(await run(), [{ event: 'REPL', fid }])
  await until('it has two others', async () => {
    const { devids: now } = await api.stat({ domain: 'test', key: 'key' })
    return now.length === 2 && !now.includes(dead)
  })
})

t.test('files go step by step, and a stop keeps the place', async t => {
  const { cluster, store } = await stage(t, {
    hosts: 1,
    classes: { one: 1 },
    settings: { queue_rate_for_fsck: '1', queue_size_for_fsck: '1' },
  })
  const { api } = cluster
  for (let n = 0; n < 5; n++) await store(`key/${n}`, 'one')
  await api.startFsck()
  await until('some are queued', async () => (await api.fsckStatus()).queued >= 2)
  await api.stopFsck()
  const { checkedTo, endFid, running } = await api.fsckStatus()
  t.notOk(running)
  t.ok(checkedTo < endFid)
  await store('later', 'one')
  await api.startFsck()
  t.ok((await api.fsckStatus()).checkedTo >= checkedTo)
  await until('it is through', async () => !(await api.fsckStatus()).running)
  t.equal((await api.fsckStatus()).endFid, endFid)
})
