import t from 'tap'
import type { CreatedToken } from '../../../common/protocol/configuration.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { openSql } from '../database.ts'
import { createCall } from './calls.ts'

t.test('replicas are reported, and their files checked', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    // What is queued stays where it is, for the test to look at.
    settings: { queue_size_for_fsck: '0' },
  })
  const admin = createCall(cluster.http, cluster.token)
  const created = await admin('POST', '/v1/tokens', {
    json: { name: 'reproxy', scope: 'read', domain: 'test' },
  })
  const call = createCall(cluster.http, created.json<CreatedToken>().token)
  const sql = await openSql(t, cluster.databaseUrl)
  const report = (json: unknown) => call('POST', '/v1/reports/replica', { json })
  const jobs = async () => {
    const rows = await sql(
      'select fid, next_try <= now() as due, whole, read from check_job order by fid',
    )
    return rows.map(row => ({ ...row, fid: Number(row['fid']) }))
  }
  const stop = async (): Promise<void> => void (await sql('delete from check_job'))
  const put = async (key: string) => {
    const { fid, devids } = await cluster.client.put(key, 'hello')
    return { fid, devid: devids[0] as number }
  }
  const one = await put('one')
  const other = await put('other')
  await cluster.settled()
  await stop()

  t.test('a reported file is due for a whole check, once a minute', async t => {
    t.equal((await report({ ...one, problem: 'missing' })).status, 202)
    const wanted = [{ fid: one.fid, due: true, whole: true, read: false }]
    t.strictSame(await jobs(), wanted)
    await Promise.all(
      (['missing', 'size', 'digest', 'short'] as const).map(problem => report({ ...one, problem })),
    )
    t.strictSame(await jobs(), wanted)
    await stop()
    t.equal((await report({ ...one, problem: 'short' })).status, 202)
    t.strictSame(await jobs(), [])
  })

  t.test('for other content all bytes are read', async t => {
    await report({ ...other, problem: 'digest' })
    t.match(await jobs(), [{ fid: other.fid, read: true }])
    await stop()
  })

  t.test('what is not there is not checked, and the answer does not tell', async t => {
    const third = await put('third')
    await stop()
    const unknown = [
      { devid: third.devid, fid: third.fid + 1000 },
      { devid: third.devid + 1000, fid: third.fid },
    ]
    for (const replica of unknown) {
      t.equal((await report({ ...replica, problem: 'size' })).status, 202)
    }
    t.strictSame(await jobs(), [])
  })

  t.test('reports beyond so many files a minute are dropped', async t => {
    for (let fid = 100_000; fid < 100_600; fid += 20) {
      const some = Array.from({ length: 20 }, (_, i) => ({ devid: 1, fid: fid + i }))
      await Promise.all(some.map(replica => report({ ...replica, problem: 'size' })))
    }
    const late = await put('late')
    await stop()
    t.equal((await report({ ...late, problem: 'size' })).status, 202)
    t.strictSame(await jobs(), [])
  })

  t.test('a report that cannot be read, or comes from nobody, changes nothing', async t => {
    const good = { ...one, problem: 'size' }
    for (const json of [
      {},
      { ...good, fid: 0 },
      { ...good, fid: 1.5 },
      { ...good, devid: -1 },
      { ...good, devid: 2 ** 31 },
      { ...good, problem: 'ugly' },
      { ...good, more: true },
    ]) {
      t.equal((await report(json)).code, 'bad_request', JSON.stringify(json))
    }
    const stranger = await call('POST', '/v1/reports/replica', { json: good, token: null })
    t.equal(stranger.status, 401)
    t.strictSame(await jobs(), [])
  })
})
