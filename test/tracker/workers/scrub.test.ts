import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

t.setTimeout(600_000)

const pathOf = (cluster: Cluster, devid: number, fid: number): string => {
  const node = cluster.nodes.find(({ devids }) => devids.includes(devid))
  return join(node?.root ?? '', replicaPath({ devid, fid }))
}

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path)
  bytes[0] = (bytes[0] ?? 0) ^ 1
  await writeFile(path, bytes)
}

t.test('one reading of all replicas finds what has rotted, and it is replaced', async t => {
  const cluster = await startCluster(t, { hosts: 3, settings: { delete_grace_seconds: '0' } })
  const { api, client } = cluster
  const keys = Array.from({ length: 40 }, (_, n) => `file/${n}`)
  for (const key of keys) await client.put(key, `body of ${key}`, { durability: 'everywhere' })
  await cluster.settled()
  const stat = (key: string) => api.stat({ domain: 'test', key })
  const rotten = keys.filter((_, n) => n % 10 === 3)
  for (const key of rotten) {
    const { fid, devids } = await stat(key)
    await flip(pathOf(cluster, devids[0] ?? 0, fid))
  }
  const hopeless = await stat('file/0')
  for (const devid of hopeless.devids) await flip(pathOf(cluster, devid, hopeless.fid))

  const through = async (): Promise<Awaited<ReturnType<typeof api.startScrub>>> => {
    const { id } = await api.startScrub()
    return until('the reading is over', async () =>
      (await api.listScrubs()).find(scrub => scrub.id === id && scrub.finishedAt !== undefined),
    )
  }
  const first = await through()
  t.match(first, { files: 40, replicas: 80, bad: rotten.length + 1 })
  await cluster.settled()
  for (const key of rotten) {
    const { fid, devids } = await stat(key)
    t.equal(devids.length, 2)
    for (const devid of devids) {
      t.equal(await readFile(pathOf(cluster, devid, fid), 'utf8'), `body of ${key}`)
    }
  }
  t.match(await api.listDamage(), [
    { fid: hopeless.fid, key: 'file/0', why: 'no replica has the checksum that is stored' },
  ])
  t.strictSame((await stat('file/0')).devids, hopeless.devids, 'what cannot be mended is kept')
  const reported = (await api.fsckLog({ limit: 1000 })).filter(({ fid }) => fid === hopeless.fid)
  t.strictSame(
    reported.map(({ event }) => event),
    ['BSUM'],
  )

  const second = await through()
  t.equal(second.files, 40)
  const again = (await api.fsckLog({ limit: 1000 })).filter(({ fid }) => fid === hopeless.fid)
  t.equal(again.length, 1, 'it is reported once')
  for (const devid of hopeless.devids) await flip(pathOf(cluster, devid, hopeless.fid))
  await through()
  t.strictSame(await api.listDamage(), [], 'and forgotten when it is in order again')

  await t.rejects(api.startScrub({ class: 'default' }), { code: 'bad_params' })
  await t.rejects(api.startScrub({ domain: 'none' }), { code: 'domain_not_found' })
  await t.rejects(api.startScrub({ devid: 77 }), { code: 'no_device' })
  const narrow = await api.startScrub({ domain: 'test', class: 'default', devid: 1 })
  t.match(narrow, { domain: 'test', class: 'default', devid: 1 })
  await api.stopScrub(narrow.id)
  await t.rejects(api.stopScrub(narrow.id), { code: 'scrub_not_found' })
  await t.rejects(api.stopScrub(1), { code: 'scrub_not_found' }, 'one never ends')
})

t.test('rot is found and mended also while another copy is on a device that is lost', async t => {
  const settings = { lost_after: '1', delete_grace_seconds: '0' }
  const cluster = await startCluster(t, { hosts: 3, classes: { three: 3 }, settings })
  const { api, client } = cluster
  await client.put('key', 'hello', { class: 'three', durability: 'everywhere' })
  const stat = () => api.stat({ domain: 'test', key: 'key' })
  const { fid } = await stat()
  await cluster.nodes[0]?.close()
  await api.refresh()
  await until('its device is treated as lost', async () =>
    (await api.status()).healing.lost.some(({ devid }) => devid === 1),
  )
  await flip(pathOf(cluster, 2, fid))
  await api.startScrub()
  await until('it is mended', async () => {
    const text = await readFile(pathOf(cluster, 2, fid), 'utf8').catch(() => '')
    return text === 'hello' && (await stat()).devids.includes(2)
  })
  t.match(
    (await api.fsckLog()).map(({ event, devid }) => [event, devid]),
    [
      ['BSUM', 2],
      ['REPL', undefined],
    ],
  )
  t.ok((await stat()).devids.includes(1), 'what is lost may come back')

  await client.put('gone', 'hello', { durability: 'everywhere' })
  const gone = await api.stat({ domain: 'test', key: 'gone' })
  for (const devid of gone.devids) await rm(pathOf(cluster, devid, gone.fid))
  await api.startScrub()
  const damage = await until('people are told', async () => {
    const found = await api.listDamage()
    return found.length > 0 && found
  })
  t.match(damage, [{ key: 'gone', why: 'no copy of it is left on any device' }])
  await client.delete('gone')

  await flip(pathOf(cluster, 2, fid))
  await flip(pathOf(cluster, 3, fid))
  const sql = await openSql(t, cluster.databaseUrl)
  await api.startScrub()
  await until('it waits for the one that is lost', async () => {
    const rows = await sql<{ last_error: string | null }>('select last_error from check_job')
    return rows.some(({ last_error: why }) => why === 'device 1 cannot be read now')
  })
  t.strictSame(await api.listDamage(), [], 'there may be a good one')
  await cluster.nodes[0]?.restart()
  await api.refresh()
  await until('all are mended', async () => {
    const texts = await Promise.all(
      [1, 2, 3].map(devid => readFile(pathOf(cluster, devid, fid), 'utf8').catch(() => '')),
    )
    return texts.every(text => text === 'hello') && (await stat()).devids.length === 3
  })
})

t.test('the reading that never ends comes by every file in its time', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  const { api, client } = cluster
  await client.put('key', 'hello', { durability: 'everywhere' })
  const { fid, devids } = await api.stat({ domain: 'test', key: 'key' })
  const [scrub] = await api.listScrubs()
  t.match(scrub, { continuous: true, files: 0 })
  await api.putSetting('scrub_days', '0')
  await flip(pathOf(cluster, devids[0] ?? 0, fid))
  await until('it is found', async () =>
    (await api.fsckLog()).some(({ event }) => event === 'BSUM'),
  )
  await until('it is mended', async () => {
    const texts = await Promise.all(
      (await api.stat({ domain: 'test', key: 'key' })).devids.map(devid =>
        readFile(pathOf(cluster, devid, fid), 'utf8').catch(() => ''),
      ),
    )
    return texts.length === 2 && texts.every(text => text === 'hello')
  })
})

t.test('devices are compared with the database', async t => {
  const cluster = await startCluster(t, { hosts: 3, settings: { delete_grace_seconds: '0' } })
  const { api, client } = cluster
  for (let n = 0; n < 10; n++) await client.put(`file/${n}`, `${n}`, { durability: 'everywhere' })
  await cluster.settled()
  const stat = (key: string) => api.stat({ domain: 'test', key })
  const missing = await stat('file/1')
  const short = await stat('file/2')
  const old = new Date(Date.now() - 2 * 86400_000)
  const place = async (devid: number, fid: number, at: Date): Promise<string> => {
    const path = pathOf(cluster, devid, fid)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'nobody owns it')
    await utimes(path, at, at)
    return path
  }
  const extra = [1, 2, 3].find(devid => !missing.devids.includes(devid)) ?? 0
  // A replica that no row names, bytes of a deleted file, some that are new, and a foreign number.
  await place(extra, missing.fid, old)
  await client.put('deleted', 'x')
  const deleted = await stat('deleted')
  await client.delete('deleted')
  await cluster.settled()
  await place(1, deleted.fid, old)
  await client.put('fresh', 'x')
  const fresh = await stat('fresh')
  await client.delete('fresh')
  await cluster.settled()
  await place(1, fresh.fid, new Date())
  await place(1, 999_999_999, old)
  await rm(pathOf(cluster, missing.devids[0] ?? 0, missing.fid))
  await writeFile(pathOf(cluster, short.devids[0] ?? 0, short.fid), 'more than there should be')

  await api.putSetting('sweep_hours', '0')
  // They have their first turn after the time that was set when they came.
  const sql = await openSql(t, cluster.databaseUrl)
  await until('all have their turn', async () => {
    const [row] = await sql<{ count: number }>('select count(*) as count from sweep')
    return row?.count === 3
  })
  await sql('update sweep set next_step = now()')
  await until('what is missing is back', async () => {
    const log = await api.fsckLog()
    return ['MISS', 'BLEN'].every(code => log.some(({ event }) => event === code))
  })
  await until('what nobody owns is gone', async () => {
    const left = await replicasOf(cluster, deleted.fid)
    return left.length === 0
  })
  await cluster.settled()
  t.strictSame((await replicasOf(cluster, fresh.fid)).length, 1, 'what is new may yet be owned')
  t.strictSame((await replicasOf(cluster, 999_999_999)).length, 1, 'what was never given out stays')
  for (const key of ['file/1', 'file/2']) {
    await until(`${key} has what its class asks for`, async () => {
      const { fid, devids } = await stat(key)
      return devids.length === 2 && (await replicasOf(cluster, fid)).length === 2
    })
    t.equal(await (await client.get(key)).text(), key.slice(-1))
  }
})
