import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { contents, openSql } from '../database.ts'
import { closeLine, open, urlOf, write } from './files.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

t.test('hosts and devices', async t => {
  const cluster = await startCluster(t, { hosts: 2, open: true })
  const sql = await openSql(t, cluster.databaseUrl)
  const talk = await openTalk(t, cluster.wire)

  /** Pairs of a host or device without their prefix. */
  const shown = async (list: string, pair: string, value: string) => {
    const pairs = pairsOf(await talk.ask(list))
    const found = [...pairs].find(([name, text]) => name.endsWith(`_${pair}`) && text === value)
    const prefix = found?.[0].slice(0, -pair.length) ?? 'none'
    return Object.fromEntries(
      [...pairs]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, text]) => [name.slice(prefix.length), text]),
    )
  }
  const host = (name: string) => shown('get_hosts', 'hostname', name)
  const device = (devid: number) => shown('get_devices', 'devid', String(devid))
  const port = (await host('node1'))['http_port'] ?? ''

  t.test('a host is down until it is told otherwise', async t => {
    const answer = await talk.ask('create_host host=fresh&ip=127.0.0.9&port=7500')
    const { hostid = '', ...created } = await host('fresh')
    t.equal(answer, `OK hostid=${hostid}&hostname=fresh`)
    t.strictSame(created, {
      status: 'down',
      hostname: 'fresh',
      hostip: '127.0.0.9',
      http_port: '7500',
      http_get_port: '',
      altip: '',
      altmask: '',
    })
    const rows: [args: string, changed: Record<string, string>][] = [
      ['update_host host=fresh&status=readonly', { status: 'readonly' }],
      ['update_host host=fresh&getport=7501', { http_get_port: '7501' }],
      [
        'create_host host=fresh&update=1&altip=10.0.0.9&altmask=10.0.0.0/24',
        { altip: '10.0.0.9', altmask: '10.0.0.0/24' },
      ],
      ['update_host host=fresh&status=', {}],
      ['update_host host=fresh&altmask=10.0.0.0/255.0.0.0', { altmask: '10.0.0.0/255.0.0.0' }],
      [
        'update_host host=fresh&ip=127.0.0.10&port=7502',
        { hostip: '127.0.0.10', http_port: '7502' },
      ],
      [
        'update_host host=fresh&getport=&altip=&altmask=',
        { http_get_port: '', altip: '', altmask: '' },
      ],
    ]
    let expected: Record<string, string> = { hostid, ...created }
    for (const [line, changed] of rows) {
      expected = { ...expected, ...changed }
      t.equal(await talk.ask(line), answer, line)
      t.strictSame(await host('fresh'), expected, line)
    }
    t.equal(await talk.ask('delete_host host=fresh'), 'OK ')
    t.strictSame(await host('fresh'), {})
  })

  t.test('errors come in the documented order and change nothing', async t => {
    await talk.ask(
      'create_host host=alt&ip=127.0.0.11&port=7500&altip=10.0.0.11&altmask=10.0.0.0/8',
    )
    await talk.ask('create_device devid=9&hostname=node2&state=dead')
    const before = await contents(sql)
    const rows: [line: string, code: string][] = [
      ['create_host status=odd', 'no_host'],
      ['create_host host=0', 'no_host'],
      ['create_host host=node1&status=odd', 'host_exists'],
      ['create_host host=new&status=odd', 'no_ip'],
      ['create_host host=new&ip=127.0.0.12&status=odd', 'no_port'],
      ['create_host host=new&ip=127.0.0.12&port=x&status=odd', 'no_port'],
      [`create_host host=new&ip=127.0.0.1&port=${port}&status=odd`, 'unknown_state'],
      [`create_host host=new&ip=127.0.0.1&port=${port}&status=drain`, 'unknown_state'],
      [`create_host host=new&ip=127.0.0.1&port=${port}`, 'dup'],
      ['create_host host=new&ip=127.0.0.12&port=7500&altip=10.0.0.11', 'dup'],
      ['create_host host=new&ip=here&port=7500', 'bad_params'],
      ['create_host host=new&ip=127.0.0.12&port=65536', 'bad_params'],
      ['create_host host=new&ip=127.0.0.12&port=7500&getport=65536', 'bad_params'],
      ['create_host host=new&ip=127.0.0.12&port=7500&altip=there', 'bad_params'],
      ['create_host host=new&ip=127.0.0.12&port=7500&altmask=10.0.0.0/33', 'bad_params'],
      ['create_host host=new&ip=127.0.0.12&port=7500&altmask=10.0.0.0/255.0.255.0', 'bad_params'],
      ['create_host host=new%2Fone&ip=127.0.0.12&port=7500', 'bad_params'],
      [`create_host host=${'x'.repeat(41)}&ip=127.0.0.12&port=7500`, 'failure'],
      ['update_host status=odd', 'no_host'],
      ['update_host host=none&status=odd', 'host_not_found'],
      ['create_host host=none&update=1', 'host_not_found'],
      [`update_host host=node2&status=odd&ip=127.0.0.1&port=${port}`, 'unknown_state'],
      [`update_host host=node2&ip=127.0.0.1&port=${port}`, 'dup'],
      ['update_host host=node2&altmask=wide', 'bad_params'],
      ['delete_host', 'unknown_host'],
      ['delete_host host=none', 'unknown_host'],
      ['delete_host host=node1', 'host_not_empty'],
      ['create_device state=odd&devid=x', 'invalid_state'],
      ['create_device hostid=4711', 'invalid_devid'],
      ['create_device devid=0&hostid=4711', 'invalid_devid'],
      ['create_device devid=1x&hostid=4711', 'invalid_devid'],
      ['create_device devid=99999999999&hostid=4711', 'invalid_devid'],
      ['create_device devid=1&hostid=4711&hostname=node1', 'unknown_hostid'],
      ['create_device devid=1&hostid=x&hostname=none', 'unknown_host'],
      ['create_device devid=1&hostid=x', 'bad_args'],
      ['create_device devid=1&hostname=none', 'unknown_host'],
      ['create_device devid=1', 'bad_args'],
      ['create_device devid=1&hostname=node1', 'existing_devid'],
      ['set_state', 'bad_params'],
      ['set_state host=node1&state=down', 'bad_params'],
      ['set_state device=1&state=down', 'bad_params'],
      ['set_state host=node1&device=0&state=down', 'bad_params'],
      ['set_state host=node1&device=1', 'bad_params'],
      ['set_state host=node1&device=4711&state=odd', 'bad_params'],
      ['set_state host=node1&device=4711&state=down', 'no_device'],
      ['set_state host=node2&device=1&state=down', 'host_mismatch'],
      ['set_state host=node2&device=9&state=alive', 'state_too_high'],
      ['set_weight device=1', 'bad_params'],
      ['set_weight host=node1', 'bad_params'],
      ['set_weight host=node1&device=1&weight=-1', 'bad_params'],
      ['set_weight host=node1&device=1&weight=99999999999', 'bad_params'],
      ['set_weight host=node1&device=4711', 'no_device'],
      ['set_weight host=node2&device=1', 'host_mismatch'],
    ]
    for (const [line, code] of rows) t.equal(await talk.code(line), code, line.slice(0, 90))
    t.equal(await talk.ask('create_device devid=1'), 'ERR bad_args No+hostid/hostname+parameter')
    t.strictSame(await contents(sql), before)
  })

  t.test('a device is created on a host by name or number, and changed', async t => {
    const { hostid = '' } = await host('node2')
    t.equal(await talk.ask('create_device devid=21&hostname=node2'), 'OK ')
    t.equal(
      await talk.ask(`create_device devid=22&hostid=${hostid}&hostname=node1&state=down`),
      'OK ',
    )
    t.match(await device(21), { hostid, status: 'alive', weight: '100' })
    t.match(await device(22), { hostid, status: 'down' })
    t.equal(await talk.ask('create_device devid=23&hostid=x&hostname=node2'), 'OK ')
    t.match(await device(23), { hostid }, 'what is no number names no host')
    for (const state of ['readonly', 'drain', 'down', 'alive', 'dead', 'down', 'alive']) {
      t.equal(await talk.ask(`set_state host=node2&device=21&state=${state}`), 'OK ')
      t.match(await device(21), { status: state })
    }
    for (const [weight, kept] of [
      ['7', '7'],
      ['', '0'],
      ['12kg', '12'],
    ]) {
      t.equal(await talk.ask(`set_weight host=node2&device=21&weight=${weight}`), 'OK ')
      t.match(await device(21), { weight: kept })
    }
  })

  t.test('what has changed is observed before the answer comes', async t => {
    t.equal(await talk.ask('set_state host=node1&device=1&state=down'), 'OK ')
    t.equal(await talk.ask('set_state host=node1&device=1&state=alive'), 'OK ')
    t.match(await device(1), { observed_state: 'writeable' })
  })

  t.test('the second address is for clients that ask for it, or that its mask covers', async t => {
    await talk.ask('set_state host=node2&device=2&state=down')
    const opened = await open(talk, 'alternative')
    const { fid } = opened
    await write(opened.targets[0]!.path, 'hello')
    t.equal(await talk.ask(closeLine(opened, 'alternative')), 'OK ')
    const path = async (zone: string): Promise<string | undefined> =>
      pairsOf(await talk.ask(`get_paths domain=test&key=alternative&noverify=1&zone=${zone}`)).get(
        'path1',
      )
    const first = urlOf(cluster, 1, fid)
    const second = first.replace('127.0.0.1:', '127.0.0.2:')
    const rows: [altip: string, altmask: string, plain: string, asked: string][] = [
      ['127.0.0.2', '', first, first],
      ['', '127.0.0.0/8', first, first],
      ['127.0.0.2', '10.0.0.0/8', first, second],
      ['127.0.0.2', '127.0.0.0/8', second, second],
      ['127.0.0.2', '127.0.0.0/255.0.0.0', second, second],
      ['127.0.0.2', '127.0.0.0:255.0.0.0', second, second],
    ]
    for (const [altip, altmask, plain, asked] of rows) {
      await talk.ask(lineOf('update_host', { host: 'node1', altip, altmask }))
      t.equal(await path(''), plain, `${altip} ${altmask}`)
      t.equal(await path('alt'), asked, `${altip} ${altmask} zone=alt`)
      t.equal(await path('other'), plain, `${altip} ${altmask} zone=other`)
    }
    const again = await open(talk, 'closed under it')
    t.match(again.targets[0]?.path, /^http:\/\/127\.0\.0\.2:/)
    await write(urlOf(cluster, 1, again.fid), 'hello')
    t.equal(await talk.ask(closeLine(again, 'closed under it')), 'OK ')
  })
})
