import t, { type Test } from 'tap'
import { createLogger } from '../../../common/log.ts'
import { advanceRebalance } from '../../../tracker/cluster/rebalance.ts'
import { ClusterState } from '../../../tracker/cluster/state.ts'
import {
  rebalanceStatus,
  resetRebalance,
  setRebalancePolicy,
  startRebalance,
  stopRebalance,
  type RebalanceStatus,
} from '../../../tracker/commands/rebalance.ts'
import { startFsck } from '../../../tracker/store/fsck.ts'
import { caller, openStore, type Store } from '../store/store.ts'

const log = createLogger('test', { level: 'silent' })
const gibibyte = 1024 ** 3

interface MoveRow {
  readonly fid: number
  readonly from: number
  readonly to: number[]
}

interface Rebalance extends Store {
  readonly ctx: { db: Store['db']; cluster: ClusterState; random: () => number }
  readonly policy: (text: string) => Promise<void>
  readonly start: () => Promise<string>
  readonly stop: () => Promise<void>
  readonly step: () => Promise<number>
  readonly status: () => Promise<RebalanceStatus>
  readonly statuses: () => Promise<string>
  readonly moves: () => Promise<MoveRow[]>
}

/** Three hosts with a device each, 1 to 3, all of them writeable, and so many files of 5 bytes on each. */
async function openRebalance(t: Test, files = 3): Promise<Rebalance> {
  const store = await openStore(t)
  const { db, sql } = store
  for (const id of [1, 2, 3]) {
    await sql(
      `insert into host (id, name, status, ip, port) values ($1, 'h' || $1::int, 'alive', '127.0.0.1', $1)`,
      [id],
    )
    await sql('insert into device (id, host_id, total_bytes, used_bytes) values ($1, $1, $2, $3)', [
      id,
      10 * gibibyte,
      id * gibibyte,
    ])
    for (let i = 0; i < files; i++) {
      const fid = 100 * id + i
      await store.put(fid, `key ${fid}`, [id])
    }
  }
  const cluster = new ClusterState(db)
  await cluster.refresh()
  for (const id of [1, 2, 3]) {
    cluster.observeHost(id, 'reachable')
    cluster.observeDevice(id, { state: 'writeable' })
  }
  const ctx = { db, cluster, random: () => 0.5 }
  return {
    ...store,
    ctx,
    policy: text => setRebalancePolicy(ctx, text, caller),
    start: () => startRebalance(ctx, caller),
    stop: () => stopRebalance(ctx, caller),
    step: () => advanceRebalance(ctx, log),
    status: () => rebalanceStatus(ctx),
    async statuses() {
      const rows = await sql<{ status: string }>('select status from device order by id')
      return rows.map(({ status }) => status).join(' ')
    },
    moves: () =>
      sql<MoveRow>('select fid, devid as "from", devids as "to" from rebalance_job order by fid'),
  }
}

const setting = (sql: Store['sql'], name: string, value: string) =>
  sql(
    'insert into setting values ($1, $2) on conflict (name) do update set value = excluded.value',
    [name, value],
  )

t.test('a run empties source by source and gives each its status back', async t => {
  const run = await openRebalance(t)
  await setting(run.sql, 'queue_rate_for_rebal', '2')
  await run.policy('from_devices=1,2')
  t.equal(await run.step(), 0, 'nothing happens before the start')
  const begun = await run.start()
  t.match(begun, / source_devs=1,2 sdev_current=0 .* time_started=[1-9]/)
  t.equal(await run.statuses(), 'alive alive alive')

  t.equal(await run.step(), 2)
  t.equal(await run.statuses(), 'drain alive alive')
  t.match((await run.status()).progress, { pending: [2], current: 1, lastFid: 101 })
  t.strictSame(await run.moves(), [
    { fid: 100, from: 1, to: [3] },
    { fid: 101, from: 1, to: [3] },
  ])
  t.equal(await run.step(), 1)
  t.equal(await run.step(), 0, 'nothing more is there')
  t.equal(await run.statuses(), 'alive alive alive')
  t.match((await run.status()).progress, { current: undefined, completed: [1], emptyRuns: 1 })

  await run.sql(`update device set status = 'drain' where id = 2`)
  await run.ctx.cluster.refresh()
  t.equal(await run.step(), 2)
  t.equal(await run.step(), 1)
  t.equal(await run.step(), 0)
  t.equal(await run.statuses(), 'alive drain alive', 'what was in drain before stays there')
  t.equal(await run.step(), 0)
  const { host, state, progress } = await run.status()
  t.equal(host, undefined, 'it is over')
  t.match(progress, { completed: [1, 2], pending: [], fidsQueued: 6, bytesQueued: 30 })
  t.ok((progress?.timeFinished ?? 0) > 0)
  t.equal((await run.moves()).length, 6)

  t.equal(await run.start(), state, 'an over run is not begun again')
  t.equal(await run.step(), 0)
  t.equal((await run.status()).host, undefined)
  await resetRebalance(run.ctx, caller)
  t.match(await run.start(), / source_devs=1,2 /)
})

t.test('a stop gives the source its status back, and a start drains it again', async t => {
  const run = await openRebalance(t)
  await setting(run.sql, 'queue_rate_for_rebal', '1')
  await run.policy('from_devices=1 leave_in_drain_mode=1')
  await run.start()
  await run.step()
  t.equal(await run.statuses(), 'drain alive alive')
  await run.stop()
  t.equal(await run.statuses(), 'alive alive alive')
  const stopped = await run.status()
  t.equal(stopped.host, undefined)
  t.match(stopped.progress, { current: 1, lastFid: 100, statusBefore: undefined })
  t.ok((stopped.progress?.timeStopped ?? 0) > 0)
  t.equal(await run.step(), 0, 'it is stopped')
  t.equal((await run.moves()).length, 1, 'what is queued stays queued')

  t.equal(await run.start(), stopped.state)
  t.equal(await run.step(), 1)
  t.equal(await run.statuses(), 'drain alive alive')
  t.match((await run.status()).progress, { current: 1, lastFid: 101 })
  for (let i = 0; i < 4; i++) await run.step()
  t.equal((await run.status()).host, undefined)
  t.equal(await run.statuses(), 'drain alive alive', 'as leave_in_drain_mode asks')
})

t.test('a status that somebody else gave is left alone', async t => {
  const run = await openRebalance(t)
  await run.policy('from_devices=1')
  await run.start()
  await run.step()
  await run.sql(`update device set status = 'down' where id = 1`)
  await run.ctx.cluster.refresh()
  await run.stop()
  t.equal(await run.statuses(), 'down alive alive')
})

t.test('a dead source is done, one that is away is waited for', async t => {
  const run = await openRebalance(t)
  await run.policy('from_devices=1,2')
  await run.start()
  await run.step()
  await run.sql(
    `update device set status = case id when 1 then 'dead' else 'down' end where id < 3`,
  )
  await run.ctx.cluster.refresh()
  t.equal(await run.step(), 0)
  t.match(await run.status(), { host: String })
  t.equal(await run.statuses(), 'dead down alive')

  await run.sql(`update device set status = 'alive' where id = 2`)
  await run.ctx.cluster.refresh()
  t.equal(await run.step(), 3)
  t.match((await run.status()).progress, { current: 2, pending: [], completed: [1] })
})

t.test('without a destination it waits', async t => {
  const run = await openRebalance(t)
  await run.policy('from_devices=1 to_devices=3')
  run.ctx.cluster.observeDevice(3, { state: 'readable' })
  await run.start()
  t.equal(await run.step(), 0)
  t.match(await run.status(), { host: String })
  t.strictSame(await run.moves(), [])
  await run.stop()
  t.equal(await run.statuses(), 'alive alive alive', 'and can be stopped')
  await run.start()
  await run.step()
  run.ctx.cluster.observeDevice(3, { state: 'writeable' })
  t.equal(await run.step(), 3)
})

t.test('the newest files may go first', async t => {
  const run = await openRebalance(t)
  await setting(run.sql, 'queue_rate_for_rebal', '1')
  await run.policy('from_devices=1 fid_age=new')
  await run.start()
  const order: number[] = []
  for (let i = 0; i < 3; i++) {
    await run.step()
    order.push(...(await run.moves()).map(({ fid }) => fid))
    await run.sql('delete from rebalance_job')
  }
  t.strictSame(order, [102, 101, 100])
})

t.test('limits end a source or the whole run exactly where they should', async t => {
  const rows: [policy: string, fids: number[]][] = [
    ['limit_by=count limit=2', [100, 101, 200, 201]],
    ['limit_by=count limit=3', [100, 101, 102, 200, 201, 202]],
    ['limit_by=size limit=14', [100, 101, 200, 201]],
    ['limit_by=count limit=4 limit_type=global', [100, 101, 102, 200]],
    ['limit_by=size limit=6 limit_type=global', [100]],
    ['limit_by=count limit=0 limit_type=global', []],
  ]
  const run = await openRebalance(t)
  for (const rate of ['1', '500']) {
    await setting(run.sql, 'queue_rate_for_rebal', rate)
    for (const [policy, fids] of rows) {
      await run.policy(`from_devices=1,2 ${policy}`)
      await run.start()
      for (let i = 0; i < 12 && (await run.status()).host !== undefined; i++) await run.step()
      const what = `${policy}, ${rate} at once`
      t.equal((await run.status()).host, undefined, what)
      t.strictSame(
        (await run.moves()).map(({ fid }) => fid),
        fids,
        what,
      )
      t.equal(await run.statuses(), 'alive alive alive', what)
      await run.sql('delete from rebalance_job')
    }
  }
})

t.test('no more moves wait than may', async t => {
  const run = await openRebalance(t)
  await setting(run.sql, 'queue_size_for_rebal', '2')
  await run.policy('from_devices=1')
  await run.start()
  t.equal(await run.step(), 2)
  t.equal(await run.step(), 0)
  await run.sql('delete from rebalance_job where fid = 100')
  t.equal(await run.step(), 1)
  t.strictSame(
    (await run.moves()).map(({ fid }) => fid),
    [101, 102],
  )
})

t.test('steps of two trackers queue each move once', async t => {
  const run = await openRebalance(t, 20)
  await setting(run.sql, 'queue_rate_for_rebal', '3')
  await run.policy('from_devices=1')
  await run.start()
  const queued = await Promise.all(Array.from({ length: 12 }, () => run.step()))
  t.equal(
    queued.reduce((sum, one) => sum + one, 0),
    20,
  )
  t.equal((await run.moves()).length, 20)
})

t.test('fsck and rebalance exclude each other, also when both start at once', async t => {
  const run = await openRebalance(t)
  await run.policy('from_devices=1')
  for (let i = 0; i < 5; i++) {
    const [rebalance, fsck] = await Promise.all([
      run.start().then(
        () => 'started',
        (err: { code: string }) => err.code,
      ),
      run.db.transaction(tx => startFsck(tx, 'host')),
    ])
    t.ok(
      (rebalance === 'started' && fsck === 'rebalance') ||
        (rebalance === 'fsck_running' && fsck === 'nothing'),
      `${rebalance} ${fsck}`,
    )
    await run.sql(`delete from setting where name in ('rebal_host', 'fsck_host')`)
  }
})
