import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { parseAddress } from '../../../common/config.ts'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'
import { closeLine, nodeOf, open, put, urlOf, write } from './files.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

t.test('rules of the file commands', async t => {
  const cluster = await startCluster(t, {
    hosts: 3,
    open: true,
    classes: { single: 1, three: 3 },
    settings: { delete_grace_seconds: '0' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)
  const paths = async (key: string, args = 'noverify=1&pathcount=99'): Promise<string[]> => {
    const pairs = pairsOf(await talk.ask(`get_paths domain=test&key=${key}&${args}`))
    return Array.from(
      { length: Number(pairs.get('paths')) },
      (_, i) => pairs.get(`path${i + 1}`) ?? '',
    )
  }
  const { fid } = await put(talk, 'three', 'hello', { class: 'three' })
  await until('it has three copies', async () => (await replicasOf(cluster, fid)).length === 3)
  await cluster.settled()
  const all = [1, 2, 3].map(devid => urlOf(cluster, devid, fid))
  const setState = (devid: number, state: string): Promise<string> =>
    talk.ask(`set_state host=node${devid}&device=${devid}&state=${state}`)

  t.test(
    'create_open takes the class default by its name, and a class that is sent twice',
    async t => {
      t.equal((await open(talk, 'a', { class: 'default' })).targets.length, 1)
      t.match(await talk.ask('create_open domain=test&key=a&class=single&class=single'), /^OK fid=/)
      t.match(await talk.ask('create_open domain=test'), /^OK fid=/, 'and no key')
    },
  )

  t.test('create_open with debug_profile tells where the time went', async t => {
    const pairs = pairsOf(await talk.ask('create_open domain=test&key=a&debug_profile=1'))
    t.equal(pairs.get('profpoints'), '5')
    t.strictSame(
      [1, 2, 3, 4, 5].map(i => pairs.get(`prof_${i}_name`)),
      [
        'begin',
        'wait_monitor',
        'find_deviceid',
        'vivify_dir_on_all_devs',
        `vivify_dir_on_dev${pairs.get('devid')}`,
      ],
    )
    for (let i = 1; i <= 5; i++) t.match(pairs.get(`prof_${i}_time`), /^\d+\.\d{3}$/)
  })

  t.test('paths to read go to the get port, paths to write never do', async t => {
    const port = nodeOf(cluster, 1).service.listening()['http']?.split(':')[1] ?? ''
    const relay = createServer(socket => {
      const to = connect(Number(port), '127.0.0.1')
      socket.pipe(to).pipe(socket)
      for (const end of [socket, to]) end.on('error', () => [socket, to].map(s => s.destroy()))
    }).listen(0, '127.0.0.1')
    await once(relay, 'listening')
    t.teardown(() => relay.close())
    const getPort = String((relay.address() as AddressInfo).port)
    await talk.ask(`update_host host=node1&getport=${getPort}`)
    const got = all.map(url => url.replace(`:${port}/`, `:${getPort}/`))
    t.strictSame((await paths('three', 'pathcount=3')).sort(), got.sort())
    const opened = await open(talk, 'ports', { multi_dest: '1' })
    for (const { devid, path } of opened.targets) t.equal(path, urlOf(cluster, devid, opened.fid))
    await talk.ask('update_host host=node1&getport=')
    t.strictSame((await paths('three')).sort(), [...all].sort())
  })

  t.test('a close looks at the port that was written to, whatever serves reads', async t => {
    const real = nodeOf(cluster, 1).service.listening()['http']
    // A server for reads that sees new files late.
    const late = createHttpServer((request, response) => {
      if (request.url?.includes('.fid')) return void response.writeHead(404).end()
      void fetch(`http://${real}${request.url}`).then(async answer => {
        const body = Buffer.from(await answer.arrayBuffer())
        response.writeHead(answer.status, { 'content-length': body.length }).end(body)
      })
    }).listen(0, '127.0.0.1')
    await once(late, 'listening')
    t.teardown(() => {
      late.closeAllConnections()
      late.close()
    })
    await talk.ask(`update_host host=node1&getport=${(late.address() as AddressInfo).port}`)
    await setState(2, 'readonly')
    await setState(3, 'readonly')
    const opened = await open(talk, 'written')
    await write(opened.targets[0]!.path, 'hello')
    const checksum = `MD5:${createHash('md5').update('hello').digest('hex')}`
    const args = { size: 5, checksum, checksumverify: 1 }
    t.equal(await talk.ask(closeLine(opened, 'written', args)), 'OK ')
    await talk.ask('delete domain=test&key=written')
    await talk.ask('update_host host=node1&getport=')
    await setState(2, 'alive')
    await setState(3, 'alive')
  })

  t.test('devices that are drained come last in get_paths', async t => {
    await setState(2, 'drain')
    for (let i = 0; i < 20; i++) {
      const found = await paths('three', 'pathcount=3')
      t.equal(found.length, 3)
      t.equal(found[2], all[1])
    }
    await setState(2, 'alive')
  })

  t.test('a copy on a drained device does not vouch for the next one', async t => {
    const lost = await put(talk, 'vouched', 'hello', { class: 'three' })
    await until('it has copies', async () => (await replicasOf(cluster, lost.fid)).length === 3)
    await cluster.settled()
    await setState(2, 'drain')
    await setState(3, 'drain')
    await rm(join(nodeOf(cluster, 2).root, replicaPath({ devid: 2, fid: lost.fid })))
    await rm(join(nodeOf(cluster, 1).root, replicaPath({ devid: 1, fid: lost.fid })))
    const only = [urlOf(cluster, 3, lost.fid)]
    for (let i = 0; i < 10; i++) t.strictSame(await paths('vouched', 'pathcount=3'), only)
    t.equal((await paths('vouched')).length, 3, 'unless nothing is verified')
    await setState(2, 'alive')
    await setState(3, 'alive')
    await talk.ask('delete domain=test&key=vouched')
  })

  t.test('a copy of another length is not named', async t => {
    await sql('update file set size = 6 where fid = $1', [fid])
    t.strictSame(await paths('three', 'pathcount=3'), [])
    t.equal(await talk.ask('get_paths domain=test&key=three'), 'OK paths=0')
    await sql('update file set size = 5 where fid = $1', [fid])
    t.equal((await paths('three', 'noverify=0')).length, 2, 'noverify=0 verifies')
  })

  t.test('devices that are not in service are left out, the last is better than none', async t => {
    await setState(1, 'down')
    t.strictSame((await paths('three')).sort(), all.slice(1).sort())
    await setState(2, 'down')
    await setState(3, 'down')
    const [last, ...more] = await paths('three')
    t.ok(all.includes(last ?? ''))
    t.equal(more.length, 0)
    for (const devid of [1, 2, 3]) await setState(devid, 'alive')
  })

  t.test('a device that is not configured is passed over', async t => {
    await sql(`update file set devids = '{4711,1}' where fid = $1`, [fid])
    t.strictSame(await paths('three'), [all[0]])
    t.match(await talk.ask(`file_debug fid=${fid}`), /&devids=4711,1&devpath_1=/)
    await sql(`update file set devids = '{1,2,3}' where fid = $1`, [fid])
  })

  t.test('the weights of devices decide which copy is read first', async t => {
    await talk.ask('set_weight host=node1&device=1&weight=5')
    await talk.ask('set_weight host=node2&device=2&weight=95')
    await setState(3, 'down')
    let light = 0
    for (let i = 0; i < 300; i++) if ((await paths('three'))[0] === all[0]) light++
    t.ok(light < 45, `the light one was first in ${light} of 300 answers`)
    await setState(3, 'alive')
  })

  t.test('bytes written to a device that was not offered go with the failed close', async t => {
    const opened = await open(talk, 'astray', { class: 'single' })
    const devid = [1, 2, 3].find(id => id !== opened.targets[0]?.devid) ?? 0
    const path = urlOf(cluster, devid, opened.fid)
    await write(path, 'hello')
    t.equal(await talk.code(closeLine(opened, 'astray', { devid, path })), 'invalid_destdev')
    await until('they are gone', async () => (await replicasOf(cluster, opened.fid)).length === 0)
  })

  t.test('a prefix longer than any key matches nothing', async t => {
    const prefix = 'x'.repeat(300)
    t.equal(await talk.code(lineOf('list_keys', { domain: 'test', prefix })), 'none_match')
    t.equal(await talk.code(lineOf('list_keys', { domain: 'test', after: prefix })), 'none_match')
  })

  t.test('the longest answer, of 1,000 keys of 255 bytes, comes whole', async t => {
    await cluster.api.createDomain('long')
    for (const [byte, sent] of [
      ['78', 'x'],
      ['ff', '%FF'],
    ] as const) {
      await sql(
        `insert into file (fid, slot, domain_id, class_id, key, size, devids)
         select 3000000 + i, 0, id, 0,
           decode(repeat($1, 251), 'hex') || to_char(i, 'FM0000')::bytea, 0, '{}'
         from domain, generate_series(1, 1000) as i where name = 'long'`,
        [byte],
      )
      const key = (i: number): string => sent.repeat(251) + String(i).padStart(4, '0')
      const keys = Array.from({ length: 1000 }, (_, i) => `&key_${i + 1}=${key(i + 1)}`)
      const [answer] = await talk.exchange('list_keys domain=long\n', 1)
      t.ok(answer === `OK key_count=1000&next_after=${key(1000)}${keys.join('')}`)
      await sql('delete from file where fid between 3000001 and 3001000')
    }
  })

  t.test('requests of all kinds in one packet are answered in their order', async t => {
    const lines: [line: string, answer: RegExp][] = [
      ['create_open domain=test&key=p', /^OK fid=\d+&devid=\d&path=http\S+$/],
      ['file_info domain=test&key=three', /^OK fid=/],
      ['do_monitor_round', /^OK $/],
      ['get_paths domain=test&key=three', /^OK paths=2&/],
      ['delete domain=test&key=none&callid=5', /^ERR unknown_key unknown_key 5$/],
      ['\0\xff', /^ERR unknown_command /],
      ['sleep duration=1', /^OK $/],
      ['noop callid=a+b', /^OK callid=a\+b$/],
      ['list_keys domain=test&prefix=three', /^OK key_count=1&/],
      ['clear_cache all=1', /^OK all=1$/],
      ['list_keys domain=', /^ERR no_domain No\+domain\+provided$/],
    ]
    const ends = ['\r\n', '\n', '\r\n\r\n\n']
    const packet = lines.map(([line], i) => line + ends[i % 3]).join('')
    const answers = await talk.exchange(packet, lines.length)
    for (const [i, [line, answer]] of lines.entries())
      t.match(answers[i], answer, JSON.stringify(line))
    t.equal(talk.unread(), '')
  })
})

t.test('a change of the configuration is answered after a look at every device', async t => {
  const cluster = await startCluster(t, { hosts: 1, open: true })
  const talk = await openTalk(t, cluster.wire)
  let looks = 0
  const node = createHttpServer((request, response) => {
    if (request.url?.startsWith('/dev88/usage')) looks++
    response.writeHead(404).end()
  }).listen(0, '127.0.0.1')
  await once(node, 'listening')
  t.teardown(() => node.close())
  const { port } = node.address() as AddressInfo
  await talk.ask(`create_host host=watched&ip=127.0.0.1&port=${port}&status=alive`)
  await talk.ask('create_device hostname=watched&devid=88')
  const lines = [
    'create_domain domain=d',
    'create_class domain=d&class=c&mindevcount=2',
    'update_class domain=d&class=c&mindevcount=3',
    'delete_class domain=d&class=c',
    'delete_domain domain=d',
    'create_host host=h&ip=127.0.0.9&port=7500',
    'update_host host=h&status=readonly',
    'create_device hostname=h&devid=89&state=down',
    'set_state host=h&device=89&state=dead',
    'set_weight host=h&device=89&weight=5',
    'create_host host=i&ip=127.0.0.10&port=7500',
    'delete_host host=i',
    'clear_cache',
    'do_monitor_round',
  ]
  for (const line of lines) {
    const before = looks
    t.match(await talk.ask(line), /^OK /, line)
    t.ok(looks > before, line)
  }
})

t.test('an address of IPv6 is written as it is', async t => {
  const cluster = await startCluster(t, { hosts: 1, open: true, classes: { single: 1 } })
  const talk = await openTalk(t, cluster.wire)
  const { fid } = await put(talk, 'k', 'hello', { class: 'single' })
  const { port } = parseAddress('node', cluster.nodes[0]?.service.listening()['http'] ?? '')
  await talk.ask('update_host host=node1&ip=::1')
  const answer = await talk.ask('get_paths domain=test&key=k&noverify=1')
  t.equal(answer, `OK paths=1&path1=http://[::1]:${port}${replicaPath({ devid: 1, fid })}`)
})
