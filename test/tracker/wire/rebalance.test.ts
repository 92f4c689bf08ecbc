import { hostname } from 'node:os'
import t from 'tap'
import { insertMoves } from '../../../tracker/store/rebalance.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { openSql } from '../database.ts'
import { openPool } from '../store/store.ts'
import { put } from './files.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

t.test('rebalance over the line protocol', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    devices: 2,
    trackers: 2,
    open: true,
    // A run stays where it is, for the test to look at.
    settings: { queue_size_for_rebal: '0' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  const other = await openTalk(t, cluster.trackers[1]?.listening()['wire'] ?? '')
  await other.ask('clear_cache')
  const setPolicy = (policy: string): Promise<string> =>
    talk.ask(lineOf('rebalance_set_policy', { policy }))
  const setting = async (key: string): Promise<string | undefined> =>
    pairsOf(await talk.ask(`server_setting key=${key}`)).get('value')

  t.test('without a policy there is nothing to test, to start or to stop', async t => {
    const rows: [line: string, answer: string][] = [
      ['rebalance_test', 'ERR no_rebal_policy No+rebalance+policy+available'],
      ['rebalance_start', 'ERR no_rebal_policy No+rebalance+policy+available'],
      ['rebalance_status', 'ERR no_rebal_state No+available+rebalance+status'],
      ['rebalance_stop', 'ERR rebal_not_started Rebalance+not+running'],
      ['rebalance_reset', 'OK '],
    ]
    for (const [line, answer] of rows) t.equal(await talk.ask(line), answer, line)
  })

  t.test('a policy is kept as it is, if it is one', async t => {
    t.equal(await setPolicy('colour=blue'), 'ERR bad_rebal_pol Invalid+setting+colour')
    t.equal(await talk.code('rebalance_set_policy'), 'bad_rebal_pol')
    t.equal(await setting('rebal_policy'), '')
    t.equal(await setPolicy('from_devices=1 to_hosts=2'), 'OK ')
    t.equal(await setting('rebal_policy'), 'from_devices=1 to_hosts=2')
    t.match(await other.ask('server_settings'), /rebal_policy&value_\d=from_devices%3D1\+to_hosts/)
    t.equal(await talk.code('set_server_setting key=rebal_policy&value=x'), 'not_writable')
  })

  t.test('a test tells the devices, and a source is never a destination', async t => {
    t.equal(await talk.ask('rebalance_test'), 'OK sdevs=1&ddevs=3,4')
    await setPolicy('from_hosts=1')
    t.equal(await other.ask('rebalance_test'), 'OK sdevs=1,2&ddevs=3,4')
    await setPolicy('from_all_devs=1')
    t.equal(await talk.ask('rebalance_test'), 'OK sdevs=1,2,3,4&ddevs=')
  })

  t.test('one run at a time, seen by every tracker', async t => {
    await setPolicy('from_devices=1,2 limit_by=count limit=9')
    const started = await talk.ask('rebalance_start')
    const state = pairsOf(started).get('state') ?? ''
    t.match(state, /\bsource_devs=1,2 sdev_current=0 .*\btime_started=[1-9]\d+ /)
    t.equal(await other.ask('rebalance_start'), 'ERR rebal_running rebalance+is+already+running')
    t.equal(await other.ask('rebalance_reset'), 'ERR rebal_running rebalance+is+running')
    t.equal(
      await other.ask('rebalance_set_policy policy=colour=blue'),
      'ERR no_set_rebal cannot+change+rebalance+policy+while+rebalance+is+running',
    )
    t.equal(
      await other.ask('fsck_start'),
      'ERR rebal_running rebalance+running%3B+cannot+run+fsck+at+same+time',
    )
    t.equal(pairsOf(await other.ask('rebalance_status')).get('state'), state)
    t.equal(await setting('rebal_host'), hostname())
    t.equal(await setting('rebal_state'), state)

    t.equal(await other.ask('rebalance_stop'), 'OK ')
    t.equal(await setting('rebal_host'), '')
    t.equal(await talk.code('rebalance_stop'), 'rebal_not_started')
    const stopped = pairsOf(await talk.ask('rebalance_status')).get('state')
    t.match(stopped, /\btime_stopped=[1-9]/)
    t.equal(pairsOf(await talk.ask('rebalance_start')).get('state'), stopped, 'it goes on')
    await talk.ask('rebalance_stop')

    t.equal(await talk.ask('rebalance_reset'), 'OK ')
    t.equal(await talk.code('rebalance_status'), 'no_rebal_state')
    await talk.ask('rebalance_start')
    await talk.ask('rebalance_stop')
    await setPolicy('from_devices=1')
    t.equal(await talk.code('rebalance_status'), 'no_rebal_state', 'a new policy, a new run')
  })

  t.test('fsck keeps it from starting', async t => {
    await sql(`insert into setting values ('queue_size_for_fsck', '0')`)
    await talk.ask('clear_cache')
    await other.ask('clear_cache')
    await talk.ask('fsck_start')
    const refused = 'ERR fsck_running fsck+running%3B+cannot+run+rebalance+at+same+time'
    t.equal(await other.ask('rebalance_start'), refused)
    await talk.ask('fsck_stop')
  })

  t.test('a queued move shows in file_debug', async t => {
    const { fid } = await put(talk, 'moved', 'hello')
    await cluster.settled()
    const [file] = await sql<{ slot: number }>('select slot from file where fid = $1', [fid])
    const move = { fid, slot: file?.slot ?? 0, devid: 1, devids: [3, 4] }
    const db = openPool(t, cluster.databaseUrl)
    await db.transaction(async tx => {
      await insertMoves(tx, [move, move])
      // It stays where it is, for the test to look at.
      await tx.query({ text: `update rebalance_job set next_try = 'infinity'` })
    })
    const traces = pairsOf(await talk.ask(`file_debug fid=${fid}`))
    const queued = [...traces].filter(([name]) => name.startsWith('rebqueue_'))
    t.strictSame(Object.fromEntries(queued), {
      rebqueue_fid: String(fid),
      rebqueue_devid: '1',
      rebqueue_type: '2',
      rebqueue_nexttry: '2147483647',
      rebqueue_failcount: '0',
      rebqueue_flags: '0',
      rebqueue_arg: '3,4',
    })
  })
})
