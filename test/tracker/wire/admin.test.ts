import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { contents, openSql } from '../database.ts'
import { closeLine, put, write } from './files.ts'
import { lineOf, openTalk, pairsOf, readOpened, type Opened } from './talk.ts'

t.test('domains and classes', async t => {
  const cluster = await startCluster(t, { hosts: 1, open: true, classes: { used: 1 } })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  await put(talk, 'there', 'hello', { class: 'used' })

  /** What get_domains tells of a class, by the names of its pairs. */
  const shown = async (domain: string, name: string): Promise<Record<string, string>> => {
    const pairs = pairsOf(await talk.ask('get_domains'))
    const named = (value: string, pattern: RegExp): string | undefined =>
      [...pairs].find(([pair, text]) => pattern.test(pair) && text === value)?.[0]
    const at = named(domain, /^domain\d+$/)
    const pair = named(name, new RegExp(`^${at}class\\d+name$`))?.slice(0, -'name'.length)
    return Object.fromEntries(
      ['mindevcount', 'replpolicy', 'hashtype'].map(field => [
        field,
        pairs.get(`${pair}${field}`) ?? 'none',
      ]),
    )
  }

  t.test('a domain comes with its default class, and goes when it is empty', async t => {
    t.equal(await talk.ask('create_domain domain=new+one'), 'OK domain=new+one')
    t.strictSame(await shown('new one', 'default'), {
      mindevcount: '2',
      replpolicy: 'MultipleHosts()',
      hashtype: 'NONE',
    })
    t.equal(await talk.code('list_keys domain=new+one'), 'none_match', 'it can be used at once')
    t.equal(await talk.ask('delete_domain domain=new+one'), 'OK domain=new+one')
    t.equal(await talk.code('list_keys domain=new+one'), 'unreg_domain', 'and not after it is gone')
  })

  t.test('a class is created, changed and deleted; the next command knows', async t => {
    const line = { domain: 'test', class: 'kept', mindevcount: 3 }
    t.equal(
      await talk.ask(
        lineOf('create_class', { ...line, replpolicy: 'MultipleHosts(3)', hashtype: 'MD5' }),
      ),
      'OK class=kept&mindevcount=3&domain=test',
    )
    const created = { mindevcount: '3', replpolicy: 'MultipleHosts(3)', hashtype: 'MD5' }
    t.strictSame(await shown('test', 'kept'), created)

    const rows: [line: string, after: Partial<typeof created>][] = [
      ['update_class domain=test&class=kept&mindevcount=4', { mindevcount: '4' }],
      ['create_class domain=test&class=kept&mindevcount=5&update=1', { mindevcount: '5' }],
      ['update_class domain=test&class=kept&mindevcount=5&replpolicy=&hashtype=', {}],
      [
        'update_class domain=test&class=kept&mindevcount=5&replpolicy=MultipleDevices()',
        { replpolicy: 'MultipleDevices()' },
      ],
      [
        'update_class domain=test&class=kept&mindevcount=5&replpolicy=Union(%0AMultipleHosts(2),%09)',
        { replpolicy: 'Union( MultipleHosts(2), )' },
      ],
      ['update_class domain=test&class=kept&mindevcount=5&hashtype=SHA-1', { hashtype: 'SHA-1' }],
      ['update_class domain=test&class=kept&mindevcount=5&hashtype=NONE', { hashtype: 'NONE' }],
    ]
    let expected = created
    for (const [change, after] of rows) {
      expected = { ...expected, ...after }
      const { mindevcount } = expected
      t.equal(await talk.ask(change), `OK class=kept&mindevcount=${mindevcount}&domain=test`)
      t.strictSame(await shown('test', 'kept'), expected, change)
    }
    t.equal(await talk.ask('delete_class domain=test&class=kept'), 'OK domain=test&class=kept')
    t.equal(await talk.code('delete_class domain=test&class=kept'), 'class_not_found')
  })

  t.test('the default class can be created until it was changed, and never deleted', async t => {
    const views = `select classname from mogilefs.class join mogilefs.domain using (dmid)
      where namespace = 'fresh'`
    await talk.ask('create_domain domain=fresh')
    t.strictSame(await sql(views), [], 'it has no row yet')
    t.equal(
      await talk.ask('create_class domain=fresh&class=default&mindevcount=3'),
      'OK class=default&mindevcount=3&domain=fresh',
    )
    t.match(await shown('fresh', 'default'), { mindevcount: '3' })
    t.strictSame(await sql(views), [{ classname: 'default' }])
    t.equal(
      await talk.code('create_class domain=fresh&class=default&mindevcount=1'),
      'class_exists',
    )
    t.equal(await talk.ask('delete_domain domain=fresh'), 'OK domain=fresh', 'its row goes with it')
    t.equal(
      await talk.ask('update_class domain=test&class=default&mindevcount=1'),
      'OK class=default&mindevcount=1&domain=test',
    )
    t.match(await shown('test', 'default'), { mindevcount: '1' })
    t.equal(await talk.code('create_class domain=test&class=default&mindevcount=1'), 'class_exists')
    t.equal(await talk.code('delete_class domain=test&class=default'), 'nodel_default_class')
  })

  t.test('errors come in the documented order and change nothing', async t => {
    const before = await contents(sql)
    const policy = 'replpolicy=Bad()'
    const rows: [line: string, code: string][] = [
      ['create_domain', 'no_domain'],
      ['create_domain domain=', 'no_domain'],
      ['create_domain domain=0', 'no_domain'],
      ['create_domain domain=test', 'domain_exists'],
      [`create_domain domain=${'x'.repeat(256)}`, 'failure'],
      ['create_domain domain=a%00b', 'failure'],
      ['create_domain domain=%FF', 'failure'],
      ['delete_domain', 'no_domain'],
      ['delete_domain domain=0', 'no_domain'],
      ['delete_domain domain=none', 'domain_not_found'],
      ['delete_domain domain=test', 'domain_has_files'],
      [`create_class ${policy}`, 'no_domain'],
      [`create_class domain=none&${policy}`, 'no_class'],
      [`create_class domain=none&class=0&${policy}`, 'no_class'],
      [`create_class domain=none&class=c&${policy}&hashtype=MD4`, 'invalid_mindevcount'],
      [`create_class domain=none&class=c&mindevcount=x&${policy}`, 'invalid_mindevcount'],
      [`create_class domain=none&class=c&mindevcount=-1&${policy}`, 'invalid_mindevcount'],
      [`create_class domain=none&class=c&mindevcount=99999999999`, 'invalid_mindevcount'],
      [
        `create_class domain=none&class=c&mindevcount=1&${policy}&hashtype=MD4`,
        'invalid_replpolicy',
      ],
      ['create_class domain=none&class=c&mindevcount=1&hashtype=md5', 'invalid_hashtype'],
      ['create_class domain=none&class=c&mindevcount=1', 'domain_not_found'],
      ['create_class domain=test&class=used&mindevcount=1', 'class_exists'],
      [`create_class domain=test&class=${'x'.repeat(51)}&mindevcount=1`, 'failure'],
      ['update_class domain=test&class=used', 'invalid_mindevcount'],
      ['update_class domain=none&class=used&mindevcount=1', 'domain_not_found'],
      ['update_class domain=test&class=c&mindevcount=1', 'class_not_found'],
      ['create_class domain=test&class=c&mindevcount=1&update=1', 'class_not_found'],
      ['delete_class class=default', 'no_domain'],
      ['delete_class domain=test', 'no_class'],
      ['delete_class domain=none&class=default', 'nodel_default_class'],
      ['delete_class domain=none&class=c', 'domain_not_found'],
      ['delete_class domain=test&class=c', 'class_not_found'],
      ['delete_class domain=test&class=used', 'class_has_files'],
    ]
    for (const [line, code] of rows) t.equal(await talk.code(line), code, line.slice(0, 90))
    t.strictSame(await contents(sql), before)
  })

  t.test('an open upload keeps neither its class nor its domain', async t => {
    await talk.ask('create_domain domain=leaving')
    await talk.ask('create_class domain=leaving&class=own&mindevcount=1')
    const line = 'create_open domain=leaving&class=own'
    const [first, second] = [readOpened(await talk.ask(line)), readOpened(await talk.ask(line))]
    t.equal(await talk.ask('delete_class domain=leaving&class=own'), 'OK domain=leaving&class=own')
    await write(first.targets[0]!.path, 'hello')
    const close = (opened: Opened): string => closeLine(opened, 'k', { domain: 'leaving' })
    t.equal(await talk.ask(close(first)), 'OK ')
    t.match(await talk.ask('file_info domain=leaving&key=k'), /&class=default&/)
    t.equal(await talk.code('delete_domain domain=leaving'), 'domain_has_files')
    await talk.ask('delete domain=leaving&key=k')
    t.equal(await talk.ask('delete_domain domain=leaving'), 'OK domain=leaving')
    t.equal(await talk.code(close(second)), 'unreg_domain')
    t.match(await talk.ask(`file_debug fid=${second.fid}`), /&delqueue_fid=/, 'its bytes will go')
  })

  t.test('a domain with classes of its own stays', async t => {
    await talk.ask('create_domain domain=classy')
    await talk.ask('create_class domain=classy&class=own&mindevcount=1')
    t.equal(await talk.code('delete_domain domain=classy'), 'domain_has_classes')
    await talk.ask('delete_class domain=classy&class=own')
    t.equal(await talk.ask('delete_domain domain=classy'), 'OK domain=classy')
  })
})
