import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { open, put, urlOf } from './files.ts'
import { openTalk, pairsOf } from './talk.ts'
import { jobOf, tell } from './tell.ts'

t.test('debugging', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    open: true,
    classes: { single: 1, both: 2 },
    settings: { delete_grace_seconds: '3600' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)

  t.test('test crashes its command only, not the connection', async t => {
    t.equal(await talk.ask('test'), 'OK ')
    t.equal(await talk.ask('test crash=0'), 'OK ')
    t.equal(await talk.ask('test crash=1'), 'ERR failure Operation+failed')
    t.equal(await talk.ask('noop'), 'OK ')
  })

  t.test('clear_cache reads everything anew and gives its arguments back', async t => {
    await sql(`insert into domain (name) values ('behind its back')`)
    t.equal(await talk.ask('clear_cache All=1&x=a+b&1bad=2&callid=7'), 'OK All=1&x=a+b&callid=7')
    t.match(await talk.ask('get_domains'), /=behind\+its\+back&/)
    t.equal(await talk.ask('do_monitor_round'), 'OK ')
  })

  t.test('commands of long ago are unknown', async t => {
    for (const command of ['stats', 'get_stats', 'checker', 'constructor']) {
      t.equal(await talk.code(command), 'unknown_command')
    }
  })

  t.test('updateclass gives a file another class and the copies that it wants', async t => {
    const { fid } = await put(talk, 'moved', 'hello', { class: 'single' })
    await put(talk, 'lost', 'hello', { class: 'single' })
    await sql(`update file set devids = '{}' where key = 'lost'`)
    const rows: [line: string, code: string][] = [
      ['updateclass key=moved', 'no_domain'],
      ['updateclass domain=none&class=none', 'unreg_domain'],
      ['updateclass domain=test', 'no_key'],
      ['updateclass domain=test&key=nope', 'no_class'],
      ['updateclass domain=test&key=nope&class=none', 'class_not_found'],
      ['updateclass domain=test&key=nope&class=both', 'invalid_key'],
      ['updateclass domain=test&key=lost&class=both', 'no_devices'],
      ['updateclass domain=test&key=moved&class=single', 'OK '],
    ]
    for (const [line, code] of rows) t.equal(await talk.code(line), code, line)
    const before = await talk.ask('file_info domain=test&key=moved')
    t.equal(before, `OK fid=${fid}&domain=test&class=single&key=moved&length=5&devcount=1`)
    t.equal(await talk.ask('updateclass domain=test&key=moved&class=both'), 'OK ')
    await until('it has two copies', async () =>
      (await talk.ask('file_info domain=test&key=moved')).endsWith(
        'class=both&key=moved&length=5&devcount=2',
      ),
    )
    t.equal(await talk.ask('updateclass domain=test&key=moved&class=default'), 'OK ')
    t.match(await talk.ask('file_info domain=test&key=moved'), /&class=default&/)
  })

  t.test('list_fids goes over all domains from behind a fid', async t => {
    await sql(
      `insert into file (fid, slot, domain_id, class_id, key, size, devids)
       select 5000000 + i, 0, id, 0, ('f' || i)::bytea, i, '{1,2}'
       from domain, generate_series(1, 600) as i where name = 'test'`,
    )
    t.equal(
      await talk.ask('list_fids from=5000000&to=2&domain=other'),
      'OK fid_count=2' +
        '&fid_1_fid=5000001&fid_1_domain=test&fid_1_class=default&fid_1_key=f1&fid_1_length=1&fid_1_devcount=2' +
        '&fid_2_fid=5000002&fid_2_domain=test&fid_2_class=default&fid_2_key=f2&fid_2_length=2&fid_2_devcount=2',
    )
    const rows: [args: string, count: string][] = [
      ['', '100'],
      ['&to=0', '100'],
      ['&to=x', '100'],
      ['&to=-1', '500'],
      ['&to=501', '500'],
      ['&to=499', '499'],
    ]
    for (const [args, count] of rows) {
      const pairs = pairsOf(await talk.ask(`list_fids from=5000000${args}`))
      t.equal(pairs.get('fid_count'), count, args)
    }
    t.equal(await talk.ask('list_fids from=5000600'), 'OK fid_count=0')
    t.equal(await talk.ask('list_fids from=99999999999999999999'), 'OK fid_count=0')
    t.match(await talk.ask('list_fids to=1'), /^OK fid_count=1&fid_1_fid=/)
    await sql('delete from file where fid > 5000000')
  })

  t.test('file_debug tells all that is known of a fid', async t => {
    for (const [line, code] of [
      ['file_debug', 'no_domain'],
      ['file_debug domain=none', 'unreg_domain'],
      ['file_debug domain=test', 'no_key'],
      ['file_debug domain=test&key=nope', 'unknown_key'],
    ] as const) {
      t.equal(await talk.code(line), code, line)
    }
    t.equal(await talk.ask('file_debug fid=4711000'), 'OK checksum=NONE')
    t.equal(await talk.ask('file_debug fid=none'), 'OK checksum=NONE')

    const [ids] = await sql<{ domain: number; class: number }>(
      `select domain_id as domain, id as class from class where name = 'single'`,
    )
    const { fid, targets } = await open(talk, 'traced', { class: 'single' })
    t.strictSame(Object.fromEntries(pairsOf(await talk.ask(`file_debug fid=${fid}`))), {
      checksum: 'NONE',
      tempfile_classid: String(ids?.class),
      tempfile_dmid: String(ids?.domain),
      tempfile_dkey: 'traced',
      tempfile_devids: targets.map(({ devid }) => devid).join(','),
    })

    const stored = await put(talk, 'traced', 'hello', { class: 'single' })
    const devid = stored.targets[0]?.devid ?? 0
    await sql(`update file set hashtype = 1, checksum = '\\x00ff' where fid = ${stored.fid}`)
    await sql(
      `insert into replicate_job (fid, slot, next_try, attempts)
       select fid, slot, 'infinity', 3 from file where fid = ${stored.fid}`,
    )
    const traces = {
      checksum: 'MD5:00ff',
      devids: String(devid),
      [`devpath_${devid}`]: urlOf(cluster, devid, stored.fid),
      fid_fid: String(stored.fid),
      fid_dmid: String(ids?.domain),
      fid_dkey: 'traced',
      fid_length: '5',
      fid_classid: String(ids?.class),
      fid_devcount: '1',
      fid_domain: 'test',
      fid_class: 'single',
      replqueue_fid: String(stored.fid),
      replqueue_nexttry: '2147483647',
      replqueue_failcount: '3',
      replqueue_fromdevid: '',
      replqueue_flags: '0',
    }
    for (const which of [`fid=${stored.fid}`, 'domain=test&key=traced']) {
      const pairs = pairsOf(await talk.ask(`file_debug ${which}`))
      t.strictSame(Object.fromEntries(pairs), traces, which)
    }

    // With nobody to replicate it, what is due stays so.
    await tell(talk, '!want 0 replicate')
    await until('nobody does', async () => (await jobOf(talk, 'replicate')).count === 0)
    await sql(`update replicate_job set next_try = now(), attempts = 0 where fid = ${stored.fid}`)
    const urgent = pairsOf(await talk.ask(`file_debug fid=${stored.fid}`))
    t.equal(urgent.get('replqueue_nexttry'), '0', 'what nobody has looked at yet')
    await sql(`update replicate_job set next_try = 'infinity' where fid = ${stored.fid}`)
    await tell(talk, '!want 1 replicate')
    t.equal(await talk.ask('replicate_now'), 'OK count=1', 'also what was given up')
    await until(
      'it was looked at',
      async () => !pairsOf(await talk.ask(`file_debug fid=${stored.fid}`)).has('replqueue_fid'),
    )
    t.equal(await talk.ask('replicate_now'), 'OK count=0')

    await talk.ask('delete domain=test&key=traced')
    const gone = pairsOf(await talk.ask(`file_debug fid=${stored.fid}`))
    t.ok(Number(gone.get('delqueue_nexttry')) > Date.now() / 1000)
    t.strictSame(
      [gone.get('devids'), gone.get('delqueue_fid'), gone.get('delqueue_failcount')],
      [String(devid), String(stored.fid), '0'],
    )
    t.notOk(gone.has('fid_fid'))
  })
})
