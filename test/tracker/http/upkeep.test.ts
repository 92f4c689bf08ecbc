import { hostname } from 'node:os'
import t from 'tap'
import type { CreatedToken } from '../../../common/protocol/configuration.ts'
import type { Consequences, Rehearsal } from '../../../common/protocol/rehearsal.ts'
import { insertFindings, queueChecks } from '../../../tracker/store/fsck.ts'
import { insertMoves } from '../../../tracker/store/rebalance.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { openSql } from '../database.ts'
import { openPool } from '../store/store.ts'
import { createCall, openUpload } from './calls.ts'

t.test('the upkeep of a cluster', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    classes: { single: 1 },
    // What runs stays where it is, for the test to look at.
    settings: { queue_size_for_fsck: '0', queue_size_for_rebal: '0' },
  })
  const { api, client } = cluster
  const call = createCall(cluster.http, cluster.token)
  const sql = await openSql(t, cluster.databaseUrl)
  const db = openPool(t, cluster.databaseUrl)
  const { fid } = await client.put('file', 'hello')
  await cluster.settled()

  t.test('fsck is started, stopped, reset, and shows how far it is', async t => {
    const idle = await api.fsckStatus()
    t.match(idle, { running: false, policyOnly: false, checkedTo: 0, endFid: 0, events: {} })
    t.notOk('startedAt' in idle || 'stoppedAt' in idle || 'host' in idle)
    t.ok(Math.abs(Date.parse(idle.now) - Date.now()) < 60_000)

    t.equal((await call('POST', '/v1/fsck/start')).status, 204)
    const running = await api.fsckStatus()
    t.match(running, { running: true, host: hostname(), endFid: fid })
    t.ok(Date.parse(running.startedAt ?? '') > 1_700_000_000_000)
    await t.rejects(api.startFsck(), { code: 'fsck_running' })
    await t.rejects(api.startRebalance(), { code: 'fsck_running' })
    await api.stopFsck()
    t.match(await api.fsckStatus(), { running: false, stoppedAt: String })
    await api.stopFsck()

    await api.resetFsck({ policyOnly: true, after: 1 })
    t.match(await api.fsckStatus(), { policyOnly: true, checkedTo: 1, endFid: fid })
    await api.resetFsck({})
    t.match(await api.fsckStatus(), { policyOnly: false, checkedTo: 0 })
    for (const json of [{ after: -1 }, { after: 1.5 }, { from: 1 }, { policyOnly: 'yes' }]) {
      t.equal((await call('POST', '/v1/fsck/reset', { json })).code, 'bad_request')
    }
  })

  t.test("fsck's log is read in pages and emptied", async t => {
    await db.transaction(tx =>
      insertFindings(tx, [
        { fid, slot: 0, event: 'MISS', devid: 2 },
        { fid, slot: 0, event: 'REPL' },
      ]),
    )
    const [first, ...none] = await api.fsckLog({ limit: 1 })
    t.strictSame(none, [])
    t.match(first, { id: 1, fid, event: 'MISS', devid: 2, at: /^\d{4}-.*Z$/ })
    const rest = await api.fsckLog({ after: first?.id ?? 0 })
    t.match(rest, [{ id: 2, fid, event: 'REPL' }])
    t.notOk('devid' in (rest[0] ?? {}))
    t.match(await api.fsckStatus(), { lastLogId: 2, events: { MISS: 1, REPL: 1 } })
    await api.clearFsckLog()
    t.strictSame(await api.fsckLog(), [])
    for (const query of ['after=-1', 'limit=0', 'limit=1001', 'after=x']) {
      t.equal((await call('GET', `/v1/fsck/log?${query}`)).code, 'bad_request', query)
    }
  })

  t.test('rebalance takes a policy, tests it, runs and is stopped', async t => {
    t.strictSame(await api.rebalanceStatus(), { running: false })
    await t.rejects(api.testRebalance(), { code: 'no_rebal_policy' })
    await t.rejects(api.startRebalance(), { code: 'no_rebal_policy' })
    await t.rejects(api.stopRebalance(), { code: 'rebal_not_started' })
    await t.rejects(api.setRebalancePolicy('colour=blue'), {
      code: 'bad_rebal_pol',
      message: 'Invalid setting colour',
    })
    await api.setRebalancePolicy(' from_devices=1  to_hosts=2')
    t.strictSame(await api.rebalanceStatus(), {
      running: false,
      policy: 'from_devices=1 to_hosts=2',
    })
    t.match(await api.testRebalance(), { sources: [1], destinations: [2], amounts: [{ devid: 1 }] })

    const started = await api.startRebalance()
    t.match(started, { running: true, host: hostname(), progress: { pending: [1] } })
    t.notOk('finishedAt' in (started.progress ?? {}))
    await t.rejects(api.startRebalance(), { code: 'rebal_running' })
    await t.rejects(api.setRebalancePolicy('from_devices=2'), { code: 'no_set_rebal' })
    await t.rejects(api.resetRebalance(), { code: 'rebal_running' })
    await t.rejects(api.startFsck(), { code: 'rebal_running' })
    await api.stopRebalance()
    t.match(await api.rebalanceStatus(), { running: false, progress: { stoppedAt: String } })
    await api.resetRebalance()
    t.notOk('progress' in (await api.rebalanceStatus()))
  })

  t.test('files are listed by fid, and all that is known of one is told', async t => {
    const other = await client.put('other', 'hello', { class: 'single' })
    t.match(await api.listFids(), [
      { fid, key: 'file', domain: 'test' },
      { fid: other.fid, key: 'other' },
    ])
    t.match(await api.listFids({ after: fid, limit: 1 }), [{ fid: other.fid }])
    t.strictSame(await api.listFids({ after: Number.MAX_SAFE_INTEGER }), [])

    const [row] = await sql<{ slot: number }>('select slot from file where fid = $1', [fid])
    const id = { fid, slot: row?.slot ?? 0 }
    await api.startFsck()
    await db.transaction(async tx => {
      await queueChecks(tx, { rate: 1, size: 1 })
      await insertMoves(tx, [{ ...id, devid: 1, devids: [2, 3] }])
      await tx.query({ text: `update check_job set next_try = 'infinity'` })
      await tx.query({ text: `update rebalance_job set next_try = '2100-01-01Z'` })
    })
    await api.stopFsck()
    await sql(`update file set hashtype = 1, checksum = '\\x00ff' where fid = $1`, [fid])
    const traces = await api.debugFid(fid)
    t.match(traces, {
      fid,
      file: { key: 'file', size: 5 },
      checksum: { algorithm: 'MD5', hex: '00ff' },
      check: { attempts: 0 },
      moves: [{ attempts: 0, nextTryAt: '2100-01-01T00:00:00.000Z', from: 1, to: [2, 3] }],
    })
    t.notOk('nextTryAt' in (traces.check ?? {}), 'it waits for a person')
    t.strictSame(
      traces.urls.map(({ devid }) => devid),
      traces.file?.devids,
    )
    for (const { url } of traces.urls) t.equal(await (await fetch(url)).text(), 'hello')
    const { urls: _, ...byKey } = await api.debugFile({ domain: 'test', key: 'file' })
    t.match(traces, byKey)

    const opened = await openUpload(call, { key: 'still open', class: 'single' })
    t.match(await api.debugFid(opened.fid), {
      upload: { domain: 'test', key: 'still open', class: 'single' },
      urls: [],
    })
    t.strictSame(await api.debugFid(4711), { fid: 4711, urls: [], moves: [] })
    t.equal((await call('GET', '/v1/fids/0')).code, 'bad_request')
    await t.rejects(api.debugFile({ domain: 'test', key: 'nope' }), { code: 'unknown_key' })
    await t.rejects(api.debugFile({ domain: 'none', key: 'file' }), { code: 'unreg_domain' })
    t.equal((await call('GET', '/v1/domains/test/debug')).code, 'bad_request')
  })

  t.test('a key that is no UTF-8 can be looked at', async t => {
    const key = Buffer.from([0xff, 0x2f])
    const stored = await client.put(key, 'hello')
    t.match(await api.debugFile({ domain: 'test', key }), {
      fid: stored.fid,
      file: { keyBytes: key.toString('base64url') },
    })
  })

  t.test('waiting replications are made due', async t => {
    await cluster.settled()
    await sql(
      `insert into replicate_job (fid, slot, next_try)
       select fid, slot, 'infinity' from file where fid = $1`,
      [fid],
    )
    t.strictSame(await api.replicateNow(), { count: 1 })
    await cluster.settled()
    t.strictSame(await api.replicateNow(), { count: 0 })
  })

  t.test('the queues are counted by state and by age, and what was given up is listed', async t => {
    await cluster.settled()
    t.same(
      (await api.listQueues()).map(({ queue }) => queue),
      ['replicate', 'delete', 'fsck', 'rebalance'],
    )
    const day = 86_400
    const jobs = [
      { attempts: 0, next: 1000, age: 5 },
      { attempts: 3, next: 1000, age: 100 },
      { attempts: 9, next: Infinity, age: day / 2 },
      { attempts: 8, next: Infinity, age: 2 * day },
    ]
    for (const [i, { attempts, next, age }] of jobs.entries()) {
      await sql(
        `insert into delete_job (fid, slot, devids, attempts, next_try, queued_at, last_error)
         values ($1, 0, '{}', $2, now() + make_interval(secs => $3), now() - make_interval(secs => $4), $5)`,
        [9000 + i, attempts, next === Infinity ? 0 : next, age, `why ${i}`],
      )
      if (next === Infinity) {
        await sql(`update delete_job set next_try = 'infinity' where fid = $1`, [9000 + i])
      }
    }
    const [, deletions] = await api.listQueues()
    t.match(deletions, {
      queue: 'delete',
      waiting: 4,
      new: 0,
      overdue: 0,
      deferred: 2,
      stuck: 2,
      ages: { underMinute: 1, underHour: 1, underDay: 1, older: 1 },
      lastError: /^why [23]$/,
    })
    const oldest = Date.now() - Date.parse(deletions?.oldestAt ?? '')
    t.ok(oldest > 2 * day * 1000 - 60_000)
    const stuck = await api.listStuck({ queue: 'delete' })
    t.match(stuck, [
      { fid: 9002, attempts: 9, lastError: 'why 2' },
      { fid: 9003, attempts: 8 },
    ])
    t.match(await api.listStuck({ queue: 'delete', after: 9002, limit: 1 }), [{ fid: 9003 }])
    t.same(await api.listStuck({ queue: 'rebalance' }), [])
    t.equal((await call('GET', '/v1/queues/stuck?queue=nope')).code, 'bad_request')
    t.equal((await call('GET', '/v1/queues/stuck')).code, 'bad_request')
    await sql('delete from delete_job where fid >= 9000')
  })

  t.test('a refresh shows what was changed behind the back', async t => {
    await sql(`insert into domain (name) values ('behind')`)
    await api.refresh()
    t.ok((await api.listDomains()).some(({ name }) => name === 'behind'))
  })

  t.test('the state of fsck is not among the settings', async t => {
    await api.startFsck()
    await api.refresh()
    const names = Object.keys(await api.listSettings())
    t.ok(names.includes('queue_size_for_fsck'))
    t.notOk(names.some(name => name.startsWith('fsck_')))
    await api.stopFsck()
  })

  t.test('only an admin may', async t => {
    const fields = { name: 'writer', scope: 'write', domain: 'test' }
    const { token } = (await call('POST', '/v1/tokens', { json: fields })).json<CreatedToken>()
    for (const route of [
      'GET /v1/fsck',
      'POST /v1/fsck/start',
      'POST /v1/fsck/stop',
      'DELETE /v1/fsck/log',
      'GET /v1/rebalance',
      'POST /v1/rebalance/start',
      'GET /v1/fids',
      `GET /v1/fids/${fid}`,
      'GET /v1/domains/test/debug?key=file',
      'POST /v1/replicate-now',
      'GET /v1/queues',
      'GET /v1/queues/stuck?queue=delete',
      'POST /v1/refresh',
      'POST /v1/rehearsals',
    ]) {
      const [method = '', path = ''] = route.split(' ')
      t.equal((await call(method, path, { token })).code, 'forbidden', route)
      t.equal((await call(method, path, { token: null })).code, 'unauthorized', route)
    }
  })

  t.test('a rehearsal tells the cost or the refusal of a change, and changes nothing', async t => {
    await api.createDomain('brief')
    t.equal(
      (await call('POST', '/v1/domains/brief/uploads', { json: { key: 'open' } })).status,
      201,
    )
    const files = await api.listFids()
    const devid = files.find(({ devids }) => devids.length === 1)?.devids[0] ?? 0
    const there = files.filter(({ devids }) => devids.includes(devid))
    const copies = {
      files: there.length,
      bytes: there.reduce((sum, { size }) => sum + size, 0),
      lastCopies: there.filter(({ devids }) => devids.length === 1).length,
    }
    const everything = async (): Promise<unknown> => [
      await api.listDomains(),
      await api.listHosts(),
      (await api.listDevices()).map(one => [one.devid, one.status, one.weight]),
      await api.listDrains(),
      await sql('select fid from upload union all select fid from delete_job order by fid'),
      (await api.audit()).length,
    ]
    const before = await everything()
    const dead = { status: 'dead' } as const
    const found: [Rehearsal, Consequences][] = [
      [
        { action: 'domain.delete', domain: 'brief' },
        { uploads: 1, trash: 0 },
      ],
      [{ action: 'trash.empty', domain: 'brief' }, { trash: 0 }],
      [{ action: 'host.change', host: 'node1', change: dead }, {}],
      [{ action: 'device.change', devid, change: dead }, copies],
      [{ action: 'device.drain', devid }, copies],
      [{ action: 'rebalance.reset' }, {}],
    ]
    for (const [change, cost] of found) {
      t.strictSame(await api.rehearse(change), cost, change.action)
    }
    const refused: [Rehearsal, string][] = [
      [{ action: 'domain.delete', domain: 'test' }, 'domain_has_files'],
      [{ action: 'domain.delete', domain: 'nope' }, 'domain_not_found'],
      [{ action: 'class.delete', domain: 'test', class: 'single' }, 'class_has_files'],
      [{ action: 'host.delete', host: 'node1' }, 'host_not_empty'],
      [{ action: 'host.change', host: 'node1', change: { ip: 'here' } }, 'bad_params'],
      [{ action: 'host.drain', host: 'nope' }, 'host_not_found'],
      [{ action: 'device.change', devid: 4711, change: dead }, 'no_device'],
    ]
    for (const [change, code] of refused) await t.rejects(api.rehearse(change), { code })
    for (const json of [{}, { action: 'domain.delete' }, { action: 'file.delete', key: 'file' }]) {
      t.equal((await call('POST', '/v1/rehearsals', { json })).code, 'bad_request')
    }
    t.strictSame(await everything(), before)
  })

  t.test('who did what is noted', async t => {
    const noted = await sql<{ action: string }>(
      `select distinct action from audit where actor = 'admin'
       and (starts_with(action, 'fsck.') or starts_with(action, 'rebalance.')) order by action`,
    )
    t.strictSame(
      noted.map(({ action }) => action),
      [
        'fsck.clear_log',
        'fsck.reset',
        'fsck.start',
        'fsck.stop',
        'rebalance.reset',
        'rebalance.set_policy',
        'rebalance.start',
        'rebalance.stop',
      ],
    )
  })
})
