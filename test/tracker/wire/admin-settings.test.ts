import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { contents, openSql } from '../database.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

t.test('settings', async t => {
  const cluster = await startCluster(t, { hosts: 1, open: true })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)

  t.test('without any there are no pairs', async t => {
    t.equal(await talk.ask('server_settings'), 'OK ')
    t.equal(await talk.ask('server_setting key=memcache_ttl'), 'OK key=memcache_ttl&value=')
    t.equal(await talk.ask('server_setting key=schema_version'), 'OK key=schema_version&value=17')
  })

  t.test('each writable setting keeps its values by its rule', async t => {
    const rows: [key: string, value: string | undefined, kept: string][] = [
      ['upload_seconds', '600', '600'],
      ['upload_seconds', undefined, ''],
      ['skip_devcount', 'yes', '1'],
      ['skip_devcount', 'OFF', '0'],
      ['skip_mkcol', 'true', '1'],
      ['skip_mkcol', '', '0'],
      ['case_sensitive_list_keys', '1', '1'],
      ['case_sensitive_list_keys', undefined, '0'],
      ['memcache_servers', '10.0.0.1:11211', '10.0.0.1:11211'],
      ['memcache_servers', undefined, ''],
      ['memcache_ttl', '', '0'],
      ['internal_queue_limit', '50', '50'],
      ['network_zones', 'one two', 'one two'],
      ['zone_one', '10.0.0.0/8, 127.0.0.0:255.0.0.0', '10.0.0.0/8, 127.0.0.0:255.0.0.0'],
      ['queue_rate_for_fsck', '200', '200'],
      ['queue_size_for_reaper', '20', '20'],
      ['queue_of_old', 'any', 'any'],
      ['fsck_checksum', 'off', 'off'],
      ['fsck_checksum', 'MD5', 'MD5'],
      ['fsck_checksum', 'class', ''],
    ]
    for (const [key, value, kept] of rows) {
      const args = value === undefined ? { key } : { key, value }
      t.equal(await talk.ask(lineOf('set_server_setting', args)), 'OK ', `${key} ${value}`)
      const pairs = pairsOf(await talk.ask(`server_setting key=${key}`))
      t.strictSame(
        [...pairs],
        [
          ['key', key],
          ['value', kept],
        ],
        `${key} ${value}`,
      )
    }
  })

  t.test('replicas of the database are counted by each write', async t => {
    const value = async (key: string): Promise<string | undefined> =>
      pairsOf(await talk.ask(`server_setting key=${key}`)).get('value')
    const dsn = 'DBI:Pg:dbname=m|user|secret'
    const rows: [value: string, kept: string, version: string][] = [
      [dsn, dsn, '1'],
      ['0', '', '2'],
      [dsn, dsn, '3'],
      ['', '', '4'],
    ]
    for (const [sent, kept, version] of rows) {
      const line = lineOf('set_server_setting', { key: 'slave_one', value: sent })
      t.equal(await talk.ask(line), 'OK ')
      t.equal(await value('slave_one'), kept)
      t.equal(await value('slave_version'), version)
    }
    const noted = await sql('select detail from audit where detail::text like $1', ['%secret%'])
    t.strictSame(noted, [], 'a password is not written down')
  })

  t.test('the list leaves out what fsck keeps for itself', async t => {
    await sql(`delete from setting`)
    for (const name of ['fsck_start_time', 'fsck_checksum', 'memcache_ttl']) {
      await sql('insert into setting (name, value) values ($1, $2)', [name, 'x y'])
    }
    t.equal(
      await talk.ask('server_settings'),
      'OK key_count=2&key_1=fsck_checksum&value_1=x+y&key_2=memcache_ttl&value_2=x+y',
    )
    t.equal(
      await talk.ask('server_setting key=fsck_start_time'),
      'OK key=fsck_start_time&value=x+y',
    )
  })

  t.test('errors change nothing', async t => {
    const before = await contents(sql)
    const rows: [line: string, code: string][] = [
      ['server_setting', 'bad_params'],
      ['set_server_setting value=1', 'bad_params'],
      ['set_server_setting key=&value=1', 'bad_params'],
      ['set_server_setting key=schema_version&value=18', 'not_writable'],
      ['set_server_setting key=fsck_host&value=here', 'not_writable'],
      ['set_server_setting key=constructor&value=1', 'not_writable'],
      ['set_server_setting key=slave_&value=1', 'not_writable'],
      [`set_server_setting key=slave_${'x'.repeat(45)}&value=1`, 'not_writable'],
      ['set_server_setting key=upload_seconds&value=', 'invalid_format'],
      ['set_server_setting key=upload_seconds&value=-1', 'invalid_format'],
      ['set_server_setting key=skip_mkcol&value=maybe', 'invalid_format'],
      ['set_server_setting key=memcache_ttl&value=1h', 'invalid_format'],
      ['set_server_setting key=memcache_servers&value=a%00b', 'invalid_format'],
      ['set_server_setting key=memcache_servers&value=%ff', 'invalid_format'],
      ['set_server_setting key=zone_x&value=10.0.0.0/8,wide', 'invalid_format'],
      ['set_server_setting key=fsck_checksum&value=md5', 'invalid_format'],
      ['set_server_setting key=fsck_checksum', 'invalid_format'],
    ]
    for (const [line, code] of rows) t.equal(await talk.code(line), code, line.slice(0, 90))
    t.strictSame(await contents(sql), before)
  })
})
