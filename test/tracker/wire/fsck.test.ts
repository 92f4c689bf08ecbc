import { hostname } from 'node:os'
import t from 'tap'
import { insertFindings, queueChecks } from '../../../tracker/store/fsck.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { openSql } from '../database.ts'
import { openPool } from '../store/store.ts'
import { put } from './files.ts'
import { openTalk, pairsOf } from './talk.ts'

t.test('fsck over the line protocol', async t => {
  const cluster = await startCluster(t, { hosts: 1, trackers: 2, open: true, classes: { one: 1 } })
  const sql = await openSql(t, cluster.databaseUrl)
  const db = openPool(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  const other = await openTalk(t, cluster.trackers[1]?.listening()['wire'] ?? '')
  const status = async (asked = talk): Promise<Record<string, string>> =>
    Object.fromEntries(pairsOf(await asked.ask('fsck_status')))
  /** Sees to it that a run is not over before the test looks. */
  const pause = (): Promise<unknown> =>
    sql(`insert into setting values ('queue_size_for_fsck', '0') on conflict (name) do nothing`)
  await pause()
  for (const tracker of [talk, other]) await tracker.ask('clear_cache')

  t.test('before the first run all is zero', async t => {
    const { current_time: now, ...rest } = await status()
    t.strictSame(rest, {
      running: '0',
      host: '',
      max_fid_checked: '0',
      policy_only: '0',
      end_fid: '0',
      start_time: '0',
      stop_time: '0',
      max_logid: '0',
    })
    const [clock] = await sql<{ now: number }>('select extract(epoch from now())::bigint as now')
    t.ok(Math.abs(Number(now) - (clock?.now ?? 0)) <= 2, "it is the database's clock")
    t.equal(await talk.ask('fsck_getlog'), 'OK row_count=0')
    t.equal(await talk.ask('fsck_stop'), 'OK ', 'a stop is never an error')
  })

  t.test('a run is seen by every tracker, and there is only one', async t => {
    const { fid } = await put(talk, 'first', 'hello', { class: 'one' })
    t.equal(await talk.ask('fsck_start'), 'OK ')
    t.equal(await other.ask('fsck_start'), 'ERR fsck_running fsck+is+already+running')
    const refused = 'ERR fsck_running fsck+running%3B+cannot+run+rebalance+at+same+time'
    t.equal(await other.ask('rebalance_start'), refused)
    for (const asked of [talk, other]) {
      const seen = await status(asked)
      t.match(seen, {
        running: '1',
        host: hostname(),
        max_fid_checked: '0',
        end_fid: String(fid),
        stop_time: '0',
      })
      t.ok(Number(seen['start_time']) > 0)
    }
    await put(talk, 'second', 'hello', { class: 'one' })
    t.equal(await other.ask('fsck_stop'), 'OK ')
    const stopped = await status()
    t.match(stopped, { running: '0', host: '', end_fid: String(fid) })
    t.ok(Number(stopped['stop_time']) >= Number(stopped['start_time']))

    t.equal(await talk.ask('fsck_start'), 'OK ')
    t.match(await status(), { end_fid: String(fid), stop_time: '0' }, 'it goes on')
    await talk.ask('fsck_stop')
  })

  t.test('a reset sets place and mode, up to the newest file', async t => {
    const [newest] = await sql<{ fid: number }>('select max(fid) as fid from file')
    const end = String(newest?.fid)
    t.equal(await talk.ask('fsck_reset policy_only=1&startpos=1'), 'OK ')
    t.match(await status(), {
      policy_only: '1',
      max_fid_checked: '1',
      end_fid: end,
      start_time: '0',
      stop_time: '0',
    })
    t.equal(await talk.ask('fsck_reset policy_only=0&startpos=x'), 'OK ')
    t.match(await status(), { policy_only: '0', max_fid_checked: '0', end_fid: end })
  })

  t.test('findings are logged by number and counted by code', async t => {
    await db.transaction(tx =>
      insertFindings(
        tx,
        Array.from({ length: 120 }, (_, i) => ({
          fid: i + 1,
          slot: 0,
          event: i % 2 === 0 ? 'MISS' : 'NOPA',
          ...(i % 2 === 0 && { devid: 1 }),
        })),
      ),
    )
    const log = pairsOf(await talk.ask('fsck_getlog'))
    t.equal(log.get('row_count'), '100')
    t.strictSame(
      ['logid', 'fid', 'evcode', 'devid'].map(name => log.get(`row_1_${name}`)),
      ['1', '1', 'MISS', '1'],
    )
    t.ok(Number(log.get('row_1_utime')) > 0)
    t.equal(log.get('row_2_evcode'), 'NOPA')
    t.notOk(log.has('row_2_devid'), 'what is not there has no pair')
    const rest = pairsOf(await other.ask('fsck_getlog after_logid=100'))
    t.strictSame(
      [rest.get('row_count'), rest.get('row_1_logid'), rest.get('row_20_logid')],
      ['20', '101', '120'],
    )
    t.match(await status(other), { num_MISS: '60', num_NOPA: '60', max_logid: '120' })

    t.equal(await talk.ask('fsck_clearlog'), 'OK ')
    t.equal(await talk.ask('fsck_getlog'), 'OK row_count=0')
    t.match(await status(), { num_MISS: '60', max_logid: '0' })
    await talk.ask('fsck_reset')
    t.notOk('num_MISS' in (await status()))
  })

  t.test('its state is kept from the list of settings, and can be asked for', async t => {
    await talk.ask('fsck_start')
    const listed = await talk.ask('server_settings')
    t.notMatch(listed, /fsck_host/)
    const host = pairsOf(await talk.ask('server_setting key=fsck_host')).get('value')
    t.equal(host, hostname())
    t.equal(await talk.code('set_server_setting key=fsck_host&value=x'), 'not_writable')
    await talk.ask('fsck_stop')
  })

  t.test('a queued check shows in file_debug', async t => {
    await talk.ask('fsck_reset')
    await talk.ask('fsck_start')
    await db.transaction(async tx => {
      await queueChecks(tx, { rate: 1, size: 100 })
      // It stays where it is, for the test to look at.
      await tx.query({ text: `update check_job set next_try = 'infinity'` })
    })
    const { max_fid_checked: fid } = await status()
    const traces = pairsOf(await talk.ask(`file_debug fid=${fid}`))
    const queued = [...traces].filter(([name]) => name.startsWith('fsckqueue_'))
    t.strictSame(Object.fromEntries(queued), {
      fsckqueue_fid: fid,
      fsckqueue_devid: '',
      fsckqueue_type: '1',
      fsckqueue_nexttry: '2147483647',
      fsckqueue_failcount: '0',
      fsckqueue_flags: '0',
      fsckqueue_arg: '',
    })
    await talk.ask('fsck_stop')
  })
})
