import { createHash } from 'node:crypto'
import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { contents, openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'
import { closeLine, nodeOf, open, put, urlOf, write } from './files.ts'
import { openTalk, pairsOf } from './talk.ts'

const md5 = (bytes: string): string => createHash('md5').update(bytes).digest('hex')

t.test('opening and closing', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    devices: 2,
    open: true,
    classes: { single: 1 },
    settings: { delete_grace_seconds: '0' },
  })
  await cluster.api.createClass('test', { name: 'md5', mindevcount: 1, hashtype: 'MD5' })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  const untilGone = (fid: number): Promise<boolean> =>
    until(`fid ${fid} is gone`, async () => (await replicasOf(cluster, fid)).length === 0)

  t.test('create_close is refused in the documented order, and the upload stays open', async t => {
    const opened = await open(talk, 'closing', { class: 'single' })
    const { devid, path } = opened.targets[0]!
    await write(path, 'hello')
    const other = [1, 2, 3, 4].find(id => id !== devid) ?? 0
    const before = await contents(sql)
    const rows: [what: string, args: Record<string, string | number>, code: string][] = [
      ['no domain', { domain: '', fid: '', checksum: 'x' }, 'no_domain'],
      ['an unknown domain', { domain: 'none', fid: '', checksum: 'x' }, 'unreg_domain'],
      ['no fid', { fid: '', devid: '', checksum: 'x' }, 'no_fid'],
      ['fid 0', { fid: 0 }, 'no_fid'],
      ['fid abc', { fid: 'abc' }, 'bogus_args'],
      ['fid -1', { fid: -1 }, 'bogus_args'],
      ['fid 2^64', { fid: '18446744073709551616' }, 'bogus_args'],
      ['no devid', { devid: '', path: '', checksum: 'x' }, 'no_devid'],
      ['devid 0', { devid: 0 }, 'no_devid'],
      ['no path', { path: '', checksum: 'x' }, 'no_path'],
      ['a checksum of nothing', { checksum: 'MD5:', path: 'x' }, 'invalid_checksum_format'],
      ['a checksum that is no hex', { checksum: 'MD5:zz' }, 'invalid_checksum_format'],
      ['an unknown algorithm', { checksum: `CRC:${md5('hello')}` }, 'invalid_checksum_format'],
      [
        'an algorithm in lower case',
        { checksum: `md5:${md5('hello')}` },
        'invalid_checksum_format',
      ],
      [
        'a digest of another length',
        { checksum: `SHA-1:${md5('hello')}` },
        'invalid_checksum_format',
      ],
      ['a path of another host', { path: path.replace('127.0.0.1', '127.0.0.2') }, 'bogus_args'],
      ['a path of another port', { path: path.replace(/:\d+/, ':1') }, 'bogus_args'],
      ['a path of another device', { path: path.replace(/dev\d+/, `dev${other}`) }, 'bogus_args'],
      ['a path with dots', { path: path.replace('/dev', '/x/../dev') }, 'bogus_args'],
      ['a path with a user', { path: path.replace('//', '//user@') }, 'bogus_args'],
      ['an unknown device', { devid: 4711 }, 'bogus_args'],
      ['another fid than the path', { fid: opened.fid + 1 }, 'bogus_args'],
      [
        'an unknown fid',
        { fid: 900_000_000, path: urlOf(cluster, devid, 900_000_000) },
        'no_temp_file',
      ],
    ]
    for (const [what, args, code] of rows)
      t.equal(await talk.code(closeLine(opened, 'closing', args)), code, what)
    t.strictSame(await contents(sql), before)
    t.equal(await talk.code(closeLine(opened, 'closing', { size: 5 })), 'OK ')
  })

  t.test('a close that fails takes the upload with it, and the old file stands', async t => {
    const old = await put(talk, 'failing', 'old', { class: 'single' })
    const rows: [
      what: string,
      bytes: string | undefined,
      args: Record<string, string | number>,
      answer: RegExp,
    ][] = [
      [
        'no bytes',
        undefined,
        { size: 5 },
        /^ERR size_verify_error Expected:\+5%3B\+actual:\+0\+%28missing%29%3B\+path:\+http/,
      ],
      ['no bytes, no size', undefined, {}, /^ERR size_verify_error Expected:\+-1%3B/],
      [
        'another size',
        'hello!',
        { size: 5 },
        /^ERR size_mismatch Expected:\+5%3B\+actual:\+6%3B\+path:\+http/,
      ],
      ['a size below zero', 'hello', { size: -1 }, /^ERR size_mismatch Expected:\+-1%3B\+actual:/],
      ['a size that is no number', 'hello', { size: 'x' }, /^ERR size_mismatch Expected:\+0%3B/],
      [
        'another checksum',
        'hello',
        { checksum: `MD5:${md5('hallo')}`, checksumverify: 1 },
        new RegExp(`^ERR checksum_mismatch .*actual:\\+MD5:${md5('hello')}%3B`),
      ],
      ['a key that is too long', 'hello', { key: 'x'.repeat(256) }, /^ERR db Database\+error$/],
    ]
    for (const [what, bytes, args, expected] of rows) {
      const opened = await open(talk, 'failing', { class: 'single' })
      if (bytes !== undefined) await write(opened.targets[0]!.path, bytes)
      t.match(await talk.ask(closeLine(opened, 'failing', args)), expected, what)
      t.equal(await talk.code(closeLine(opened, 'failing')), 'no_temp_file', what)
      await untilGone(opened.fid)
    }
    const info = pairsOf(await talk.ask('file_info domain=test&key=failing'))
    t.equal(Number(info.get('fid')), old.fid)
  })

  t.test('what the database knows already is dup, and the upload stays open', async t => {
    const opened = await open(talk, 'twice', { class: 'single' })
    await write(opened.targets[0]!.path, 'hello')
    await sql(
      `insert into file (fid, slot, domain_id, class_id, key, size, devids)
       select fid, slot, domain_id, 0, 'another key', 5, '{1}' from upload where fid = $1`,
      [opened.fid],
    )
    t.equal(await talk.ask(closeLine(opened, 'twice')), 'ERR dup Duplicate+name/number+used.')
    await sql('delete from file where fid = $1', [opened.fid])
    t.equal(await talk.ask(closeLine(opened, 'twice')), 'OK ')
  })

  t.test('a close on a device that was not offered is refused', async t => {
    const opened = await open(talk, 'not-offered', { class: 'single' })
    const offered = opened.targets[0]!.devid
    const devid = [1, 2, 3, 4].find(id => id !== offered) ?? 0
    const path = urlOf(cluster, devid, opened.fid)
    await write(opened.targets[0]!.path, 'hello')
    const text = `File+uploaded+to+invalid+dest+${devid}.+Valid+devices+were:+${offered}`
    t.equal(
      await talk.ask(closeLine(opened, 'not-offered', { devid, path })),
      `ERR invalid_destdev ${text}`,
    )
    t.equal(await talk.code(closeLine(opened, 'not-offered')), 'no_temp_file')
    await untilGone(opened.fid)
  })

  t.test('a close without a key gives the upload up', async t => {
    const opened = await open(talk, '', { class: 'single' })
    await write(opened.targets[0]!.path, 'hello')
    t.equal(await talk.ask(closeLine(opened, '')), 'OK ')
    t.equal(await talk.code(closeLine(opened, 'late')), 'no_temp_file')
    await untilGone(opened.fid)
  })

  t.test('the key of the close counts, and what else clients send does not', async t => {
    const opened = await open(talk, 'first name', { class: 'single' })
    await write(opened.targets[0]!.path, 'hello')
    const extras = { class: 'none', dev_count: 1, checksumverify: 0, size: '' }
    t.equal(await talk.ask(closeLine(opened, 'second name', extras)), 'OK ')
    t.equal(await talk.code('file_info domain=test&key=first+name'), 'unknown_key')
    t.equal(pairsOf(await talk.ask('file_info domain=test&key=second+name')).get('class'), 'single')
  })

  t.test('the domain of the close counts, and the number of the class there', async t => {
    await talk.ask('create_domain domain=other')
    await talk.ask('create_class domain=other&class=both&mindevcount=2')
    const opened = await open(talk, 'moved', { class: 'single' })
    await write(opened.targets[0]!.path, 'hello')
    t.equal(await talk.ask(closeLine(opened, 'moved', { domain: 'other' })), 'OK ')
    const info = (): Promise<string> => talk.ask('file_info domain=other&key=moved')
    t.equal(pairsOf(await info()).get('class'), 'both')
    await until('it has the copies of that class', async () =>
      (await info()).endsWith('devcount=2'),
    )
  })

  t.test('a file that changes its name or class while its copy is made has the copy', async t => {
    await cluster.api.createClass('test', { name: 'both', mindevcount: 2 })
    const keys = Array.from({ length: 8 }, (_, i) => `renamed ${i}`)
    for (const key of keys) {
      await put(talk, 'temporary', 'hello')
      t.equal(await talk.ask(`rename domain=test&from_key=temporary&to_key=${key}`), 'OK ')
      t.equal(await talk.ask(`updateclass domain=test&key=${key}&class=both`), 'OK ')
    }
    const questions = keys.map(key => `file_info domain=test&key=${key}\n`).join('')
    await until('all have two copies', async () => {
      const answers = await talk.exchange(questions, keys.length)
      return answers.every(answer => pairsOf(answer).get('devcount') === '2')
    })
  })

  t.test('closing at the same time, one client wins', async t => {
    const opened = await open(talk, 'race', { class: 'single' })
    await write(opened.targets[0]!.path, 'hello')
    const others = await Promise.all(Array.from({ length: 4 }, () => openTalk(t, cluster.wire)))
    const answers = await Promise.all(others.map(other => other.ask(closeLine(opened, 'race'))))
    t.strictSame(answers.filter(answer => answer === 'OK ').length, 1)
    t.strictSame(answers.filter(answer => answer.startsWith('ERR no_temp_file ')).length, 3)
    t.match(await talk.ask('file_info domain=test&key=race'), /^OK /)
  })

  t.test('multi_dest names up to three devices, on distinct hosts first', async t => {
    const { targets } = await open(talk, 'multi', { multi_dest: '1' })
    t.equal(targets.length, 3)
    const [one, two] = targets.map(({ devid }) => nodeOf(cluster, devid).name)
    t.not(one, two)
    for (const multi of ['0', ''])
      t.equal((await open(talk, 'multi', { multi_dest: multi })).targets.length, 1)
  })

  t.test('when no device takes files there is nothing to open', async t => {
    await cluster.api.putSetting('min_free_space_mb', '999999999')
    t.equal(await talk.code('create_open domain=test&key=k'), 'no_devices')
    await cluster.api.deleteSetting('min_free_space_mb')
    t.equal(await talk.code(`create_open domain=test&key=k&size=${2 ** 52}`), 'no_devices')
  })

  t.test('a checksum is verified on demand, and kept where the class wants it', async t => {
    const checksum = `MD5:${md5('hello').toUpperCase()}`
    for (const name of ['md5', 'single']) {
      const opened = await open(talk, `sum-${name}`, { class: name })
      await write(opened.targets[0]!.path, 'hello')
      t.equal(
        await talk.ask(closeLine(opened, `sum-${name}`, { checksum, checksumverify: 1 })),
        'OK ',
      )
    }
    const info = async (key: string) => pairsOf(await talk.ask(`file_info domain=test&key=${key}`))
    t.equal((await info('sum-md5')).get('checksum'), `MD5:${md5('hello')}`)
    t.notOk((await info('sum-single')).has('checksum'))
    await put(talk, 'sum-none', 'hello', { class: 'md5' })
    t.equal((await info('sum-none')).get('checksum'), 'MISSING')
    await cluster.api.changeClass({ domain: 'test', name: 'md5' }, { hashtype: 'SHA-1' })
    t.equal((await info('sum-md5')).get('checksum'), `MD5:${md5('hello')}`)
  })

  t.test('a node that does not answer is told apart from one without the file', async t => {
    const opened = await open(talk, 'out of reach', { class: 'single' })
    const node = nodeOf(cluster, opened.targets[0]!.devid)
    await write(opened.targets[0]!.path, 'hello')
    let kept = await put(talk, 'kept', 'hello', { class: 'single' })
    while (!node.devids.includes(kept.targets[0]!.devid)) {
      kept = await put(talk, 'kept', 'hello', { class: 'single' })
    }
    await node.close()
    const [word, code, text] = (await talk.ask(closeLine(opened, 'out of reach'))).split(' ')
    t.strictSame([word, code], ['ERR', 'size_verify_error'])
    t.match(text, /^Expected:\+-1%3B\+actual:\+0\+%28cantreach%29/)
    t.equal(await talk.code('file_info domain=test&key=out+of+reach'), 'unknown_key')

    await until('the node is seen to be away', async () =>
      (await cluster.api.listDevices()).every(
        ({ devid, observed }) => !node.devids.includes(devid) || observed === 'unreachable',
      ),
    )
    const only = `OK paths=1&path1=${kept.targets[0]!.path}`
    t.equal(await talk.ask('get_paths domain=test&key=kept'), only, 'better than none')
    await node.restart()
  })
})
