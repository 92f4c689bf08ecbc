import t from 'tap'
import { CodedError } from '../../../common/errors.ts'
import { createDeleteWorker } from '../../../tracker/workers/delete.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'
import { log, trackerOn } from './tracker-on.ts'

t.test('deleted bytes leave their devices', async t => {
  const cluster = await startCluster(t, { hosts: 3, settings: { delete_grace_seconds: '0' } })
  const sql = await openSql(t, cluster.databaseUrl)
  const put = async (key: string): Promise<{ fid: number; devids: number[] }> => {
    await cluster.client.put(key, 'hello')
    return cluster.api.stat({ domain: 'test', key })
  }
  const placesOf = async (fid: number): Promise<number[]> => {
    const paths = await replicasOf(cluster, fid)
    return paths.map(path => Number(/dev(\d+)/.exec(path)?.[1]))
  }
  const jobOf = async (fid: number) => {
    type Job = { devids: number[]; last_error: string | null }
    const [row] = await sql<Job>('select devids, last_error from delete_job where fid = $1', [fid])
    return row
  }
  const remove = (key: string) => cluster.api.remove({ domain: 'test', key })
  const tryNow = (fid: number) =>
    sql('update delete_job set next_try = now() where fid = $1', [fid])
  const observed = (devid: number, state: string) =>
    until(`device ${devid} is ${state}`, async () =>
      (await cluster.api.listDevices()).some(
        device => device.devid === devid && device.observed === state,
      ),
    )

  t.test('all of them', async t => {
    const { fid, devids } = await put('key')
    t.strictSame(new Set(await placesOf(fid)), new Set(devids))
    await remove('key')
    await until('the bytes are gone', async () => (await placesOf(fid)).length === 0)
    await until('the job is done', async () => (await jobOf(fid)) === undefined)
  })

  t.test('not before the grace period is over', async t => {
    await cluster.api.putSetting('delete_grace_seconds', '3600')
    const { fid } = await put('grace')
    await remove('grace')
    await cluster.api.putSetting('delete_grace_seconds', '0')
    const { fid: next } = await put('after')
    await remove('after')
    await until('a later one is gone', async () => (await placesOf(next)).length === 0)
    t.equal((await placesOf(fid)).length, 2)
    await tryNow(fid)
    await until('the bytes are gone', async () => (await placesOf(fid)).length === 0)
  })

  t.test('one that is away keeps its job, and is cleaned when it is back', async t => {
    const { fid, devids } = await put('away')
    const [away = 0] = devids
    const node = cluster.nodes.find(node => node.devids.includes(away))
    await node?.close()
    await remove('away')
    const job = await until('the job has failed', async () => {
      const row = await jobOf(fid)
      // What is done is taken out of it when all that was claimed with it has had its turn.
      return row?.last_error == null || row.devids.length > 1 ? undefined : row
    })
    t.strictSame(job.devids, [away], 'only what is left is kept')
    t.match(job.last_error, `device ${away}`)
    t.strictSame(await placesOf(fid), [away])

    await node?.restart()
    await observed(away, 'writeable')
    await tryNow(fid)
    await until('the bytes are gone', async () => (await placesOf(fid)).length === 0)
    await until('the job is done', async () => (await jobOf(fid)) === undefined)
  })

  t.test('one that is marked readonly is asked later, one that is dead never', async t => {
    const { fid, devids } = await put('marked')
    const [readonly = 0, dead = 0] = devids
    await cluster.api.changeDevice(readonly, { status: 'readonly' })
    await cluster.api.changeDevice(dead, { status: 'dead' })
    await remove('marked')
    const job = await until('the job has failed', async () => {
      const row = await jobOf(fid)
      // What is done is taken out of it when all that was claimed with it has had its turn.
      return row?.last_error == null || row.devids.length > 1 ? undefined : row
    })
    t.strictSame(job, { devids: [readonly], last_error: `device ${readonly} is not in service` })
    t.strictSame(new Set(await placesOf(fid)), new Set(devids), 'neither was touched')
    await cluster.api.changeDevice(readonly, { status: 'alive' })
    await tryNow(fid)
    await until('the job is done', async () => (await jobOf(fid)) === undefined)
    t.strictSame(await placesOf(fid), [dead])
  })

  t.test('a live file is never deleted, whatever the queue says', async t => {
    await cluster.client.put('live', 'hello', { durability: 'fast', class: 'default' })
    const { fid, devids } = await cluster.api.stat({ domain: 'test', key: 'live' })
    await sql(
      `insert into delete_job (fid, slot, devids, next_try) select fid, slot, devids, now() from file where fid = $1`,
      [fid],
    )
    await until('the job is gone', async () => (await jobOf(fid)) === undefined)
    t.ok((await placesOf(fid)).includes(devids[0] ?? 0))
    t.equal(await (await cluster.client.get('live')).text(), 'hello')
  })
})

t.test(
  'a node that does not answer is asked again soon, and by another tracker sooner',
  async t => {
    const code = 'storage_unreachable'
    const silence = new CodedError(code, 'no answer', { cause: new Error('ECONNREFUSED') })
    for (const [err, seconds, others] of [
      [silence, [600, 660], []],
      [silence, [5, 5], [1]],
      [silence, [600, 660], [2]],
      [new CodedError(code, 'it answered 500'), [1800, 3600], [1]],
      [new CodedError('device_failed', 'input/output error'), [1800, 3600], [1]],
    ] as const) {
      for (const [failures, wait] of seconds.entries()) {
        const waits: unknown[] = []
        const job = { fid: 1, slot: 0, attempts: failures + 1, devids: [1] }
        const ctx = trackerOn(
          (statement, values) => {
            if (statement === 'deletions.defer') waits.push(values[2])
            return /\.(due|claim)$/.test(statement) ? [job] : []
          },
          {
            storage: { remove: () => Promise.reject(err) },
            urls: { replica: () => 'http://node/', several() {} },
            politely: <T>(work: () => Promise<T>) => work(),
          },
        )
        const host = { status: 'alive', observed: 'reachable' }
        const device = { status: 'alive', observed: 'writeable', host }
        Object.assign(ctx.cluster, { device: () => device, outOfReach: () => others })
        await createDeleteWorker(ctx).pass(new AbortController().signal, log)
        t.strictSame(waits, [wait], err.message)
      }
    }
  },
)
