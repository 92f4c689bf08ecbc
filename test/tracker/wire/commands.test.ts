import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { contents, openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'
import { nodeOf, open, put, urlOf } from './files.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

t.test('the commands', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    devices: 2,
    open: true,
    classes: { single: 1, three: 3 },
    settings: { delete_grace_seconds: '0' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  const countOf = async (fid: number): Promise<number> => (await replicasOf(cluster, fid)).length
  await put(talk, 'there', 'hello', { class: 'single' })
  await put(talk, 'too', 'hello', { class: 'single' })

  t.test('errors come in the documented order and change nothing', async t => {
    const long = 'x'.repeat(256)
    await open(talk, 'explicit', { fid: '2000000000' })
    const before = await contents(sql)
    const rows: [line: string, code: string][] = [
      ['create_open', 'no_domain'],
      ['create_open domain=&class=none', 'no_domain'],
      ['create_open domain=none&class=none', 'unreg_domain'],
      [`create_open domain=test&class=none&key=${long}&fid=1`, 'unreg_class'],
      [`create_open domain=test&key=${long}&fid=1`, 'db'],
      ['create_open domain=test&key=k&fid=1', 'fid_in_use'],
      ['create_open domain=test&key=k&fid=-1', 'fid_in_use'],
      ['create_open domain=test&key=k&fid=2000000000', 'fid_in_use'],
      ['create_open domain=test&key=k&fid=18446744073709551616', 'fid_in_use'],
      [`get_paths key=${long}`, 'no_domain'],
      [`get_paths domain=none&key=${long}`, 'unreg_domain'],
      ['get_paths domain=test', 'no_key'],
      ['get_paths domain=test&key=nope', 'unknown_key'],
      [`get_paths domain=test&key=${long}`, 'unknown_key'],
      [`get_paths domain=test&key=${'x'.repeat(100_000)}`, 'unknown_key'],
      ['file_info', 'no_domain'],
      ['file_info domain=none', 'unreg_domain'],
      ['file_info domain=test&key=', 'no_key'],
      ['file_info domain=test&key=nope', 'unknown_key'],
      ['list_keys prefix=a&after=b', 'no_domain'],
      ['list_keys domain=none&prefix=a&after=b', 'unreg_domain'],
      ['list_keys domain=test&prefix=a&after=b', 'after_mismatch'],
      ['list_keys domain=test&prefix=nope', 'none_match'],
      ['list_keys domain=test&prefix=there&after=there', 'none_match'],
      ['delete', 'no_domain'],
      ['delete domain=none', 'unreg_domain'],
      ['delete domain=test', 'no_key'],
      ['delete domain=test&key=nope', 'unknown_key'],
      ['rename from_key=there&to_key=too', 'no_domain'],
      ['rename domain=none&from_key=there&to_key=too', 'unreg_domain'],
      ['rename domain=test&to_key=too', 'no_key'],
      ['rename domain=test&from_key=nope', 'no_key'],
      ['rename domain=test&from_key=nope&to_key=too', 'unknown_key'],
      ['rename domain=test&from_key=there&to_key=too', 'key_exists'],
      ['rename domain=test&from_key=there&to_key=there', 'OK '],
      [`rename domain=test&from_key=&to_key=${long}`, 'no_key'],
      [`rename domain=test&from_key=nope&to_key=${long}`, 'unknown_key'],
      [`rename domain=test&from_key=there&to_key=${long}`, 'db'],
      [lineOf('file_info', { domain: "'; drop table file;--", key: 'there' }), 'unreg_domain'],
      [lineOf('file_info', { domain: 'test', key: "'; drop table file;--" }), 'unknown_key'],
      ['file_info domain=%zz&key==&&=', 'unreg_domain'],
      ['\xff\xfe\x00', 'unknown_command'],
      ['GET / HTTP/1.0', 'unknown_command'],
    ]
    for (const [line, code] of rows) t.equal(await talk.code(line), code, line.slice(0, 70))
    t.strictSame(await contents(sql), before)
  })

  t.test('file_info has exactly six pairs, and the devices on demand', async t => {
    const { fid, targets } = await put(talk, 'six', 'hello', { class: 'single' })
    const six = `OK fid=${fid}&domain=test&class=single&key=six&length=5&devcount=1`
    t.equal(await talk.ask('file_info domain=test&key=six'), six)
    t.equal(await talk.ask('file_info domain=test&key=six&devices=0'), six)
    t.equal(
      await talk.ask('file_info domain=test&key=six&devices=1'),
      `${six}&devids=${targets[0]?.devid}`,
    )
  })

  t.test('get_paths names as many paths as it is asked for, at least two', async t => {
    const { fid } = await put(talk, 'paths', 'hello', { class: 'three' })
    await until('it has three copies', async () => (await countOf(fid)) === 3)
    await cluster.settled()
    const count = async (args: string): Promise<string | undefined> =>
      pairsOf(await talk.ask(`get_paths domain=test&key=paths&${args}`)).get('paths')
    const rows: [args: string, count: string][] = [
      ['', '2'],
      ['pathcount=0', '2'],
      ['pathcount=x', '2'],
      ['pathcount=1', '2'],
      ['pathcount=3', '3'],
      ['pathcount=%2B3', '3'],
      ['pathcount=99', '3'],
      ['pathcount=99&noverify=1', '3'],
    ]
    for (const [args, expected] of rows) t.equal(await count(args), expected, args)
  })

  t.test('a replica that is gone from its disk is never named first', async t => {
    const { fid } = await put(talk, 'unlinked', 'hello')
    await until('it has two copies', async () => (await countOf(fid)) === 2)
    await cluster.settled()
    const pairs = pairsOf(await talk.ask('file_info domain=test&key=unlinked&devices=1'))
    const [lost = 0, kept = 0] = (pairs.get('devids') ?? '').split(',').map(Number)
    await rm(join(nodeOf(cluster, lost).root, replicaPath({ devid: lost, fid })))
    for (let i = 0; i < 10; i++) {
      const paths = pairsOf(await talk.ask('get_paths domain=test&key=unlinked'))
      t.equal(paths.get('path1'), urlOf(cluster, kept, fid))
    }
    const blind = pairsOf(await talk.ask('get_paths domain=test&key=unlinked&noverify=1'))
    t.equal(blind.get('paths'), '2')
    await rm(join(nodeOf(cluster, kept).root, replicaPath({ devid: kept, fid })))
    t.equal(await talk.ask('get_paths domain=test&key=unlinked'), 'OK paths=0')
  })

  t.test('list_keys takes its prefix literally', async t => {
    const keys = ['li%x', 'lixx', 'li_y', 'li\\z', 'LI%x', 'li+a[', 'li']
    for (const key of keys) await put(talk, key, '', { class: 'single' })
    const list = async (args: Record<string, string | number>): Promise<string[]> => {
      const pairs = pairsOf(await talk.ask(lineOf('list_keys', { domain: 'test', ...args })))
      const found = Array.from(
        { length: Number(pairs.get('key_count')) },
        (_, i) => pairs.get(`key_${i + 1}`) ?? '',
      )
      t.equal(pairs.get('next_after'), found.at(-1))
      return found
    }
    t.strictSame(await list({ prefix: 'li%' }), ['li%x'])
    t.strictSame(await list({ prefix: 'li_' }), ['li_y'])
    t.strictSame(await list({ prefix: 'li\\' }), ['li\\z'])
    t.strictSame(await list({ prefix: 'li+a[' }), ['li+a['])
    t.strictSame(await list({ prefix: 'li' }), ['li', 'li%x', 'li+a[', 'li\\z', 'li_y', 'lixx'])
    t.strictSame(await list({ prefix: 'li', after: 'li', limit: 2 }), ['li%x', 'li+a['])
    t.strictSame(await list({ prefix: '', after: 'li_y', limit: 1 }), ['lixx'])
    for (const limit of [0, -1, 'x', 1_000_000_000, '']) {
      t.equal((await list({ prefix: 'li', limit })).length, 6, `limit ${limit}`)
    }
  })

  t.test('a listing has at most 1,000 keys', async t => {
    await sql(
      `insert into file (fid, slot, domain_id, class_id, key, size, devids)
       select 1000000 + i, 0, id, 0, ('many' || to_char(i, 'FM0000'))::bytea, 0, '{}'
       from domain, generate_series(1, 1001) as i where name = 'test'`,
    )
    for (const limit of ['', '&limit=5000']) {
      const pairs = pairsOf(await talk.ask(`list_keys domain=test&prefix=many${limit}`))
      t.strictSame([pairs.get('key_count'), pairs.get('next_after')], ['1000', 'many1000'])
    }
    t.equal(
      await talk.ask('list_keys domain=test&prefix=many&after=many1000'),
      'OK key_count=1&next_after=many1001&key_1=many1001',
    )
    await sql(`delete from file where fid > 1000000 and fid <= 1001001`)
  })

  t.test('a key that is too long to be given here can be used like any other', async t => {
    const key = 'k'.repeat(1024)
    const { fid } = await cluster.client.put(key, 'hello', { class: 'single' })
    const rows: [line: string, answer: RegExp][] = [
      ['file_info key=', new RegExp(`^OK fid=${fid}&`)],
      ['get_paths key=', /^OK paths=1&/],
      ['file_debug key=', /^OK checksum=/],
      ['list_keys prefix=', /^OK key_count=1&/],
      ['updateclass class=default&key=', /^OK $/],
      ['updateclass class=single&key=', /^OK $/],
      ['rename to_key=short&from_key=', /^OK $/],
      ['delete key=', /^ERR unknown_key /],
      ['updateclass class=single&key=', /^ERR invalid_key /],
    ]
    for (const [line, answer] of rows)
      t.match(await talk.ask(`${line}${key}&domain=test`), answer, line)
    t.equal(await talk.ask('delete domain=test&key=short'), 'OK ')
  })

  t.test('the key 0 is a key', async t => {
    const { fid } = await put(talk, '0', 'zero', { class: 'single' })
    t.equal(
      await talk.ask('file_info domain=test&key=0'),
      `OK fid=${fid}&domain=test&class=single&key=0&length=4&devcount=1`,
    )
    t.match(await talk.ask('get_paths domain=test&key=0'), /^OK paths=1&path1=http/)
    t.equal(await talk.ask('rename domain=test&from_key=0&to_key=zero'), 'OK ')
    t.equal(await talk.ask('rename domain=test&from_key=zero&to_key=0'), 'OK ')
    t.equal(await talk.ask('delete domain=test&key=0'), 'OK ')
    t.equal(await talk.code('delete domain=test&key=0'), 'unknown_key')
    await until('its bytes are gone', async () => (await countOf(fid)) === 0)
  })

  t.test('a client may choose a fid that is soon to come, and nobody else gets it', async t => {
    const { fid: last } = await open(talk, 'automatic')
    const fid = last + 3
    const { fid: chosen } = await open(talk, 'chosen', { fid: `${fid}.9` })
    t.equal(chosen, fid, 'the integer part counts')
    t.equal(await talk.code(`create_open domain=test&fid=${fid}`), 'fid_in_use')
    const others: number[] = []
    for (let i = 0; i < 4; i++) others.push((await open(talk, 'automatic')).fid)
    t.notOk(others.includes(fid))
  })

  t.test('a client may choose a fid, once', async t => {
    const { fid } = await put(talk, 'chosen', 'hello', { class: 'single', fid: '2147483632' })
    t.equal(fid, 2147483632)
    t.match(await talk.ask('file_info domain=test&key=chosen'), /^OK fid=2147483632&.*&devcount=1$/)
    t.equal(await talk.code('create_open domain=test&key=chosen&fid=2147483632'), 'fid_in_use')
    t.equal(await talk.ask('delete domain=test&key=chosen'), 'OK ')
    t.equal(
      await talk.code('create_open domain=test&key=chosen&fid=2147483632'),
      'fid_in_use',
      'also when it is free',
    )
  })

  t.test('any bytes are a key, and come back as they were', async t => {
    const all = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).join('')
    for (const key of [
      all,
      '\0',
      '\xff\xfe',
      'a\r\nb',
      'caf\xc3\xa9',
      'a&b=c%d+e',
      'x'.repeat(255),
    ]) {
      await put(talk, key, 'x', { class: 'single' })
      const info = pairsOf(await talk.ask(lineOf('file_info', { domain: 'test', key })))
      t.equal(info.get('key'), key)
      const listed = pairsOf(await talk.ask(lineOf('list_keys', { domain: 'test', prefix: key })))
      t.equal(listed.get('key_1'), key)
    }
  })

  t.test('hosts and devices are shown with the documented pairs only', async t => {
    const hosts = pairsOf(await talk.ask('get_hosts'))
    t.equal(hosts.get('hosts'), '2')
    const port = nodeOf(cluster, 1).service.listening()['http']?.split(':')[1]
    const names = [...hosts.keys()].filter(name => name.startsWith('host1_'))
    t.strictSame(
      names.map(name => `${name}=${hosts.get(name)}`),
      [
        'host1_hostid=1',
        'host1_status=alive',
        'host1_hostname=node1',
        'host1_hostip=127.0.0.1',
        `host1_http_port=${port}`,
        'host1_http_get_port=',
        'host1_altip=',
        'host1_altmask=',
      ],
    )
    const hostid = hosts.get('host2_hostid') ?? ''
    t.match(
      await talk.ask(`get_hosts hostid=${hostid}`),
      new RegExp(`^OK hosts=1&host1_hostid=${hostid}&`),
    )
    t.match(await talk.ask('get_hosts hostid='), /^OK hosts=2&/, 'an empty number is none')
    for (const none of ['4711', '0', 'x'])
      t.equal(await talk.ask(`get_hosts hostid=${none}`), 'OK hosts=0')

    const devices = pairsOf(await talk.ask('get_devices'))
    t.equal(devices.get('devices'), '4')
    const fields = [
      'devid',
      'hostid',
      'status',
      'weight',
      'mb_total',
      'mb_used',
      'mb_free',
      'mb_asof',
      'observed_state',
      'utilization',
      'reject_bad_md5',
    ]
    t.strictSame(
      [...devices.keys()].filter(name => name.startsWith('dev4_')),
      fields.map(field => `dev4_${field}`),
    )
    t.match(
      [devices.get('dev4_status'), devices.get('dev4_observed_state'), devices.get('dev4_weight')],
      ['alive', 'writeable', '100'],
    )
    t.ok(Number(devices.get('dev4_mb_total')) > 0)
    const one = pairsOf(await talk.ask('get_devices devid=3'))
    t.strictSame([one.get('devices'), one.get('dev1_devid')], ['1', '3'])
    for (const none of ['4711', '0', 'x'])
      t.equal(await talk.ask(`get_devices devid=${none}`), 'OK devices=0')
  })
})
