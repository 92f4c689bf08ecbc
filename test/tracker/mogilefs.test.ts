import { readFile } from 'node:fs/promises'
import t from 'tap'
import { insertFindings } from '../../tracker/store/fsck.ts'
import { insertMoves } from '../../tracker/store/rebalance.ts'
import { startCluster } from '../helpers/cluster.ts'
import { testDatabase } from '../helpers/postgres.ts'
import { openSql } from './database.ts'
import { openStore } from './store/store.ts'

/** Every table of MogileFS's schema, with its columns. */
const tables: Readonly<Record<string, string>> = {
  checksum: 'fid hashtype checksum',
  class: 'dmid classid classname mindevcount hashtype replpolicy',
  device: 'devid hostid status weight mb_total mb_used mb_asof',
  domain: 'dmid namespace',
  file: 'fid dmid dkey length classid devcount',
  file_on: 'fid devid',
  file_on_corrupt: 'fid devid',
  file_to_delete: 'fid',
  file_to_delete2: 'fid nexttry failcount',
  file_to_delete_later: 'fid delafter',
  file_to_queue: 'fid devid type nexttry failcount flags arg',
  file_to_replicate: 'fid nexttry fromdevid failcount flags',
  fsck_log: 'logid utime fid evcode devid',
  host: 'hostid status http_port http_get_port hostname hostip altip altmask',
  lock: 'lockid hostname pid acquiredat',
  server_settings: 'field value',
  tempfile: 'fid createtime classid dmid dkey devids',
  unreachable_fids: 'fid lastupdate',
}

t.test('every table of MogileFS can be read under its name', async t => {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  const columns = await sql<{ table: string; columns: string }>(
    `select table_name as table, string_agg(column_name, ' ' order by ordinal_position) as columns
     from information_schema.columns where table_schema = 'mogilefs' group by 1`,
  )
  t.strictSame(Object.fromEntries(columns.map(row => [row.table, row.columns])), tables)
  for (const [table, names] of Object.entries(tables)) {
    const list = names.replaceAll(' ', ', ')
    t.strictSame(await sql(`select ${list} from mogilefs.${table} where false`), [], table)
  }
})

t.test('what mogstats wants to know gives the right numbers of a real cluster', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    classes: { single: 1 },
    settings: { delete_grace_seconds: '3600' },
  })
  const { client } = cluster
  await client.put('one', 'x'.repeat(10), { class: 'single' })
  await client.put('two', 'x'.repeat(20))
  await client.put('three', 'x'.repeat(30))
  await client.put('gone', 'x'.repeat(40))
  await cluster.settled()
  await client.delete('gone')

  const sql = await openSql(t, cluster.databaseUrl)
  await sql('set search_path = mogilefs')
  const [ids] = await sql<{ dmid: number; classid: number }>(
    `select dmid, classid from domain join class using (dmid)
     where namespace = 'test' and classname = 'single'`,
  )
  const { dmid = 0, classid = 0 } = ids ?? {}
  t.strictSame(
    await sql(
      `select devid, hostname, device.status from device join host using (hostid) order by devid`,
    ),
    [
      { devid: 1, hostname: 'node1', status: 'alive' },
      { devid: 2, hostname: 'node2', status: 'alive' },
    ],
  )
  t.strictSame(
    await sql(
      `select dmid, classid, count(*), sum(length)::bigint as size,
         sum(length * devcount)::bigint as fullsize
       from file group by dmid, classid order by classid`,
    ),
    [
      { dmid, classid: 0, count: 2, size: 50, fullsize: 100 },
      { dmid, classid, count: 1, size: 10, fullsize: 10 },
    ],
  )
  t.strictSame(
    await sql(
      `select dmid, classid, devcount, count(*) from file
       group by dmid, classid, devcount order by classid`,
    ),
    [
      { dmid, classid: 0, devcount: 2, count: 2 },
      { dmid, classid, devcount: 1, count: 1 },
    ],
  )
  const on = await sql<{ devid: number; count: number }>(
    'select devid, count(*) from file_on group by devid',
  )
  t.equal(
    on.reduce((sum, { count }) => sum + count, 0),
    7,
    'bytes that are to be deleted count, as they are still there',
  )
  t.strictSame(
    await sql('select max(fid) from file'),
    await sql('select max(fid) from public.file'),
  )
  t.strictSame(await sql('select * from file_to_replicate'), [])
  t.match(
    await sql(
      `select nexttry > extract(epoch from now()) as deferred, count(*)
       from file_to_delete2 group by deferred`,
    ),
    [{ deferred: true, count: 1 }],
  )
  t.strictSame(await sql('select * from file_to_queue'), [])
  t.strictSame(await sql('select field, value from server_settings order by field'), [
    { field: 'delete_grace_seconds', value: '3600' },
    { field: 'schema_version', value: '17' },
  ])
  const [device] = await sql<{ total: number; used: number; asof: number }>(
    'select mb_total as total, mb_used as used, mb_asof as asof from device where devid = 1',
  )
  t.ok(device && device.total > device.used && device.used > 0 && device.asof > 1_700_000_000)
})

t.test('queues, uploads, checksums and the log look as MogileFS writes them', async t => {
  const { db, sql, domainId, open, put } = await openStore(t)
  for (const fid of [1, 2, 3, 4]) await put(fid, `key ${fid}`, [1, 2])
  const jobs = `insert into replicate_job (fid, slot, next_try, attempts) values ($1, 0, $2, $3)`
  await sql(jobs, [1, '2001-09-09T01:46:40Z', 0])
  await sql(jobs, [2, '2001-09-09T01:46:40Z', 2])
  await sql(jobs, [3, 'infinity', 9])
  await sql(jobs, [4, '2033-05-18T03:33:20Z', 0])
  t.strictSame(await sql('select * from mogilefs.file_to_replicate order by fid'), [
    { fid: 1, nexttry: 0, fromdevid: null, failcount: 0, flags: 0 },
    { fid: 2, nexttry: 1_000_000_000, fromdevid: null, failcount: 2, flags: 0 },
    { fid: 3, nexttry: 2_147_483_647, fromdevid: null, failcount: 9, flags: 0 },
    { fid: 4, nexttry: 2_000_000_000, fromdevid: null, failcount: 0, flags: 0 },
  ])

  await sql(`insert into check_job (fid, slot, next_try) values (1, 0, 'infinity')`)
  await insertMoves(db, [{ fid: 2, slot: 0, devid: 1, devids: [3, 4] }])
  await sql(`update rebalance_job set next_try = to_timestamp(1500000000.9), attempts = 1`)
  t.strictSame(await sql('select * from mogilefs.file_to_queue order by type'), [
    { fid: 1, devid: null, type: 1, nexttry: 2_147_483_647, failcount: 0, flags: 0, arg: null },
    { fid: 2, devid: 1, type: 2, nexttry: 1_500_000_000, failcount: 1, flags: 0, arg: '3,4' },
  ])

  await open(9, 'open', [7, 8])
  t.match(await sql('select * from mogilefs.tempfile'), [
    { fid: 9, classid: 0, dmid: domainId, dkey: 'open', devids: '7,8', createtime: Number },
  ])
  await sql(`update file set hashtype = 1, checksum = '\\x0102' where fid = 3`)
  t.strictSame(await sql('select * from mogilefs.checksum'), [
    { fid: 3, hashtype: 1, checksum: Buffer.from([1, 2]) },
  ])
  await db.transaction(tx => insertFindings(tx, [{ fid: 3, slot: 0, event: 'MISS', devid: 2 }]))
  t.match(await sql('select * from mogilefs.fsck_log'), [
    { logid: 1, fid: 3, evcode: 'MISS', devid: 2, utime: Number },
  ])
})

t.test('keys are text where they are UTF-8, and escaped where not', async t => {
  const { sql, put } = await openStore(t)
  const rows: [key: Buffer | string, text: string][] = [
    ['plain', 'plain'],
    ['Zoë/日本/😀', 'Zoë/日本/😀'],
    ['back\\slash', 'back\\slash'],
    [Buffer.from('caf\xe9', 'latin1'), 'caf\\351'],
    [Buffer.from('a\0b'), 'a\\000b'],
    [Buffer.from([0xed, 0xa0, 0x80]), '\\355\\240\\200'],
    [Buffer.from([0xc0, 0x80]), '\\300\\200'],
  ]
  for (const [i, [key, text]] of rows.entries()) {
    await put(i + 1, key)
    t.strictSame(
      await sql('select dkey from mogilefs.file where fid = $1', [i + 1]),
      [{ dkey: text }],
      text,
    )
  }

  t.test('whatever the bytes are', async t => {
    // Every pair of bytes, alone and where a longer sequence is broken off or wrong behind it.
    const [{ bad } = { bad: -1 }] = await sql<{ bad: number }>(
      `select count(*) as bad
       from generate_series(0, 65535) as pair,
         lateral (select decode(lpad(to_hex(pair), 4, '0'), 'hex') as two) as b,
         unnest(array[two, two || '\\x80', two || '\\x80bf', two || '\\x41']) as key
       where mogilefs.dkey(key) is null`,
    )
    t.equal(bad, 0)
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const decoded = (key: Buffer): string | undefined => {
      try {
        return key.includes(0) ? undefined : decoder.decode(key)
      } catch {
        return undefined
      }
    }
    const keys = Array.from({ length: 0x110000 / 0x111 }, (_, i) => {
      const point = i * 0x111
      // Of a surrogate the three bytes that it would be.
      return point >= 0xd800 && point < 0xe000
        ? Buffer.from([0xed, 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f)])
        : Buffer.from(String.fromCodePoint(point))
    })
    const cut = keys.map(key => key.subarray(0, key.length - 1))
    const all = [...keys, ...cut].filter(key => key.length > 0)
    const shown = await sql<{ key: Buffer; dkey: string }>(
      'select key, mogilefs.dkey(key) as dkey from unnest($1::bytea[]) as key',
      [all],
    )
    t.equal(shown.length, all.length)
    const wrong = shown.filter(({ key, dkey }) => {
      const text = decoded(key)
      return text === undefined ? /[^\0-\x7f]/.test(dkey) || !dkey.includes('\\') : dkey !== text
    })
    t.strictSame(wrong, [])
  })
})

t.test('a role whose own schema the views would be is refused', async t => {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  await sql('drop schema mogilefs cascade')
  await sql('drop table upkeep, rebalance_job')
  await sql('alter table fsck_log drop column logid')
  await sql('set search_path = mogilefs, public')
  const file = new URL('../../../tracker/migrations/0003_fsck_rebalance.sql', import.meta.url)
  await t.rejects(sql(await readFile(file, 'utf8')), {
    message: 'the schema mogilefs must not come first in the search_path',
  })
})
