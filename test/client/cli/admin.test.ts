import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ReadyMessage } from '../../../common/daemon.ts'
import type { DeviceInfo, HostInfo, TokenInfo } from '../../../common/protocol/configuration.ts'
import { until } from '../../helpers/until.ts'
import { omg } from '../../helpers/up.ts'
import { startPeer } from '../peer.ts'
import { runOmg, startSystem } from './omg.ts'

const system = await startSystem(t)
const { cwd, run, json } = system
const hosts = async (): Promise<HostInfo[]> => (await json<HostInfo[]>(['host', 'list']))[0] ?? []
const devices = async (): Promise<DeviceInfo[]> =>
  (await json<DeviceInfo[]>(['device', 'list']))[0] ?? []

/** A storage node outside of the cluster, with one device. */
async function startNode(t: Test, { name, devid }: { name: string; devid: number }) {
  const root = join(cwd, name)
  mkdirSync(join(root, `dev${devid}`), { recursive: true })
  const secret = join(cwd, `${name}.secret`)
  writeFileSync(secret, (await run(['node', 'key', name])).stdout, { mode: 0o600 })
  const flags = ['--root', root, '--name', name, '--listen', '127.0.0.1:0', '--secret-file', secret]
  const child = fork(omg, ['storage-node', ...flags, '--log-level', 'warn'])
  t.teardown(() => child.kill('SIGKILL'))
  const [message] = (await once(child, 'message')) as [ReadyMessage]
  return { root, url: `http://${message.listening['http']}` }
}

t.test('domains and classes are made, changed one attribute at a time, and deleted', async t => {
  t.equal((await run(['domain', 'add', 'films'])).stdout, 'films  created\n')
  t.equal((await run(['domain', 'add', 'films'])).status, 1)
  t.match(await run(['domain', 'add', '']), {
    status: 1,
    stderr: /^omg domain add: bad_request: body name [^()]+ 1 characters\n$/,
  })
  const add = ['class', 'add', 'films', 'master', '--mindevcount', '3', '--hashtype', 'MD5']
  t.equal((await run(add)).status, 0)
  const [changed] = await json(['class', 'modify', 'films', 'master', '--ack-copies', '2'])
  t.match(changed, { name: 'master', mindevcount: 3, hashtype: 'MD5', ackCopies: 2 })
  t.match((await run(['class', 'list', 'films'])).stdout, /^films {3}master +3 /m)
  t.match((await run(['domain', 'list'])).stdout, /^films +default master$/m)
  t.equal((await run(['class', 'delete', 'films', 'nope'])).status, 3)
  t.equal((await run(['domain', 'delete', 'films', '--yes'])).status, 1)
  t.equal((await run(['class', 'delete', 'films', 'master'])).status, 0)
  t.equal((await run(['domain', 'rm', 'films', '--yes'])).status, 0)
  t.notMatch((await run(['domain', 'list'])).stdout, 'films')
})

t.test('a name that is nearly one that exists is told with that one, exit 3', async t => {
  await run(['domain', 'add', 'music'])
  await run(['class', 'add', 'music', 'photo'])
  await run(['class', 'add', 'music', 'original'])
  await run(['put', omg, 'music:songs/first.ogg'])
  for (const [words, meant] of [
    [['ls', 'photso:'], 'photos'],
    [['rm', 'musik:song'], 'music'],
    [['put', omg, 'photoss:omg'], 'photos'],
    [['domain', 'delete', 'musics', '--yes'], 'music'],
    [['class', 'delete', 'music', 'orignal'], 'original'],
    [['put', omg, 'music:omg', '--class', 'orginal'], 'original'],
    [['host', 'modify', 'node11', '--zone', 'x'], 'node1'],
    [['device', 'add', 'nod2', '77'], 'node2'],
    [['token', 'delete', 'admn', '--yes'], 'admin'],
    [['cat', 'music:songs/frist.ogg'], 'first.ogg'],
    [['rm', 'music:songs/frist.ogg'], 'first.ogg'],
  ] as [string[], string][]) {
    const { status, stderr } = await run(words)
    t.equal(status, 3, words.join(' '))
    t.match(stderr, `Did you mean ${meant}? (`)
  }
  t.notMatch((await run(['ls', 'elsewhere:'])).stderr, 'Did you mean')
  t.notMatch((await run(['undelete', 'music:songs/frist.ogg'])).stderr, 'Did you mean')
  for (const words of [
    ['get', 'music:songs/', 'song'],
    ['rm', 'music:songs/'],
  ]) {
    const { status, stderr } = await run(words)
    t.equal(status, 3)
    t.match(stderr, 'Is it a folder? -r takes everything in it')
  }
  t.notMatch((await run(['class', 'delete', 'photos', 'xyz'])).stderr, 'Did you mean')
})

t.test('settings are set and unset, and refused by name or value', async t => {
  t.equal((await run(['setting', 'set', 'upload_seconds', '60'])).stdout, 'upload_seconds = 60\n')
  t.same(await json(['settings', 'list']), [{ upload_seconds: '60' }])
  for (const [name, value, code] of [
    ['no_such_thing', '1', 'not_writable'],
    ['upload_seconds', 'soon', 'invalid_format'],
  ] as const) {
    const { status, stderr } = await run(['setting', 'set', name, value])
    t.equal(status, 1)
    t.match(stderr, new RegExp(`^omg setting set: ${code}: [^\n]*\n$`))
  }
  t.match((await run(['setting', 'list'])).stdout, /^upload_seconds +60$/m)
  t.equal((await run(['setting', 'unset', 'upload_seconds'])).status, 0)
  t.same(await json(['setting', 'list']), [{}])
})

t.test('a token works until it is deleted, by name or number', async t => {
  const { stdout } = await run(['token', 'add', 'web', '--scope', 'write', '--domain', 'photos'])
  const token = stdout.trimEnd()
  t.match(token, /^[\w-]{43}$/)
  const env = { ...system.env, OMG_TOKEN: token }
  t.equal((await runOmg(['ls', 'photos:'], { env })).status, 0)
  const listed = await run(['token', 'list'])
  t.match(listed.stdout, /^\d+ +web +write +photos /m)
  t.notOk(listed.stdout.includes(token))
  t.equal((await run(['token', 'delete', 'web'])).status, 2)
  t.equal((await run(['token', 'delete', 'web', '--yes'])).status, 0)
  const refused = await runOmg(['ls', 'photos:'], { env })
  t.equal(refused.status, 1)
  t.match(refused.stderr, /^omg ls: unauthorized: /)
  t.equal((await run(['token', 'delete', 'web', '--yes'])).status, 3)
  const [tokens] = await json<TokenInfo[]>(['token', 'list'])
  t.notOk(tokens?.some(({ name }) => name === 'web'))
})

t.test('a host is added, changed and deleted', async t => {
  const [added] = await json(['host', 'add', 'h1', '--ip', '127.0.0.9', '--zone', 'cellar'])
  t.match(added, { name: 'h1', ip: '127.0.0.9', port: 7500, status: 'down', zone: 'cellar' })
  const [changed] = await json(['host', 'modify', 'h1', '--zone', '', '--getport', '7600'])
  t.match(changed, { zone: null, getPort: 7600, status: 'down' })
  t.equal((await run(['host', 'mark', 'h1', 'dead'])).status, 2)
  t.match(await json(['host', 'mark', 'h1', 'readonly']), [{ status: 'readonly' }])
  t.match((await run(['host', 'list'])).stdout, /^\d+ +h1 +readonly +\S+ +127\.0\.0\.9:7500 +7600/m)
  t.equal((await run(['host', 'delete', 'h1'])).status, 0)
  t.equal((await run(['host', 'delete', 'h1'])).status, 3)
})

t.test(
  'a device is marked with or without its host before it, dead only when that is meant',
  async t => {
    t.match(await json(['device', 'add', 'node1', 'dev40', '--weight', '7']), [
      { devid: 40, weight: 7 },
    ])
    t.match(await json(['device', 'mark', '40', 'drain']), [{ status: 'drain', weight: 7 }])
    t.match(await json(['device', 'mark', 'node1', 'dev40', 'readonly']), [{ status: 'readonly' }])
    t.match(await json(['device', 'modify', '40', '--weight', '0']), [
      { status: 'readonly', weight: 0 },
    ])
    const wrong = await run(['device', 'mark', 'node2', '40', 'down'])
    t.equal(wrong.status, 1)
    t.match(wrong.stderr, 'dev40 is in node1')
    t.equal((await run(['device', 'mark', '40', 'dead'])).status, 2)
    t.match(await json(['device', 'mark', '40', 'dead', '--yes']), [{ status: 'dead' }])
    const back = await run(['device', 'mark', '40', 'alive'])
    t.equal(back.status, 1)
    t.match(back.stderr, /state_too_high: .*marked down first/)
    t.equal((await run(['device', 'mark', '4711', 'down'])).status, 3)
  },
)

t.test('devices are shown of one host and by status, also as mogadm spells it', async t => {
  const [one] = await json<DeviceInfo[]>(['device', 'list', '--host', 'node1'])
  t.same(new Set(one?.map(({ host }) => host)), new Set(['node1']))
  t.same(await json(['device', 'list', '--all', '--hostname=node1']), [one])
  for (const verb of ['list', 'summary']) {
    const { status, stderr } = await run(['device', verb, '--host', 'node11'])
    t.equal(status, 3, verb)
    t.match(stderr, /^omg device \w+: host_not_found: no host "node11". Did you mean node1\? /)
  }
  t.match((await json(['device', 'summary', '--hostname', 'node2']))[0], [{ host: 'node2' }])
  t.same(await json(['device', 'summary', '--status=dead,readonly', '--host', 'node3']), [[]])
  t.equal((await run(['device', 'summary', '--status', 'asleep'])).status, 2)
  t.match((await run(['rebalance', 'settings'])).stdout, /^running +no\npolicy/)
})

t.test('node add registers a storage node and its devices, and can be called again', async t => {
  const { root, url } = await startNode(t, { name: 'extra', devid: 50 })
  const first = await run(['node', 'add', url])
  t.same([first.status, first.stderr], [0, ''])
  t.match(first.stdout, /^host extra registered at 127\.0\.0\.1:\d+; 1 device added: dev50\n$/)
  t.match(
    (await hosts()).find(({ name }) => name === 'extra'),
    { status: 'alive' },
  )
  t.match(
    (await devices()).find(({ devid }) => devid === 50),
    { host: 'extra', status: 'alive' },
  )

  t.equal(
    (await run(['node', 'add', url])).stdout,
    'host extra was registered already; no new devices\n',
  )
  mkdirSync(join(root, 'dev51'))
  await until('the new device is added', async () => {
    const [added] = await json<{ added: number[] }>([
      'node',
      'add',
      url.replace('127.0.0.1', 'localhost'),
    ])
    return added?.added.includes(51) ?? false
  })
  const other = await run(['node', 'add', url, '--name', 'other'])
  t.equal(other.status, 1)
  t.match(other.stderr, /has a dev5\d, and so has host extra/)
})

t.test('node add registers nothing that is no storage node', async t => {
  const before = { hosts: await hosts(), devices: (await devices()).map(({ devid }) => devid) }
  let redirected = 0
  const { url: target } = await startPeer(t, (_, reply) => {
    redirected++
    reply.end()
  })
  const { url: redirecting } = await startPeer(t, (_, reply) => {
    reply.writeHead(302, { location: target }).end()
  })
  const answering = async (value: unknown): Promise<string> =>
    (await startPeer(t, (_, reply) => reply.end(JSON.stringify(value)))).url
  const { url: endless } = await startPeer(t, (_, reply) => {
    reply.writeHead(200)
    const more = (): void => void reply.write('x'.repeat(65_536), () => reply.writable && more())
    more()
  })
  const good = { server: 'omgfiles', version: '1', name: 'fake', devices: [60] }
  const usable = await answering(good)
  for (const url of [
    redirecting,
    endless,
    system.http,
    'http://127.0.0.1:1',
    await answering({ ...good, server: 'nginx' }),
    await answering({ ...good, devices: ['60'] }),
    await answering({ ...good, devices: [1] }),
    await answering({ ...good, name: 'node1' }),
    await answering({ ...good, name: '../x' }),
    usable.replace('//', '//user:pa55@'),
    usable.replace('//', '//user@'),
  ]) {
    const { status, stdout, stderr } = await run(['node', 'add', url])
    t.same({ status, stdout }, { status: 1, stdout: '' }, url)
    t.match(stderr, /^omg node add: [^\n]+\n$/)
    t.notMatch(stderr, 'pa55')
  }
  t.equal(redirected, 0)
  t.same(
    (await hosts()).map(({ id }) => id),
    before.hosts.map(({ id }) => id),
  )
  t.same(
    (await devices()).map(({ devid }) => devid),
    before.devices,
  )
})

t.test(
  'status says in 80 columns that all is well, and exits 1 when something is down',
  async t => {
    await run(['host', 'mark', 'extra', 'dead', '--yes'])
    for (const devid of ['50', '51']) await run(['device', 'mark', devid, 'dead', '--yes'])
    const well = await run(['status'])
    t.same([well.status, well.stderr], [0, ''])
    t.match(well.stdout, /^node1 +127\.0\.0\.1:\d+ +alive +reachable$/m)
    t.match(well.stdout, /^dev1 +node1 +alive +writeable .*\d%$/m)
    t.match(well.stdout, /^total +[\d.]+ [kMGT]B +[\d.]+ [kMGT]B .*\d%$/m)
    t.match(well.stdout, /^replicate +\d+ +\d+ /m)
    t.match(well.stdout, /^http:\/\/127\.0\.0\.1:\d+ +\d+\.\d+\.\d+ +reachable$/m)
    t.notOk(well.stdout.includes('\u001b'))
    for (const line of well.stdout.split('\n')) t.ok(line.length <= 80, line)

    const partly = await run(['status', '--trackers', `${system.http},http://127.0.0.1:1`])
    t.equal(partly.status, 1)
    t.match(partly.stderr, /^omg status: tracker_unreachable: 127\.0\.0\.1:1/)
    t.match(partly.stdout, /^node1 /m)
    t.match(partly.stdout, /^http:\/\/127\.0\.0\.1:1 +- +unreachable$/m)
    const both = ['--trackers', `${system.http},http://127.0.0.1:1`]
    const { trackers } = JSON.parse((await run(['status', '--json', ...both])).stdout) as {
      trackers: unknown
    }
    t.match(trackers, [
      { url: system.http, version: /^\d+\.\d+\.\d+/ },
      { url: 'http://127.0.0.1:1', error: /^tracker_unreachable: 127\.0\.0\.1:1: / },
    ])

    process.kill(system.pids['storage-node3'] ?? 0, 'SIGKILL')
    await until('status tells of the dead node', async () => {
      const { status, stdout } = await run(['status'])
      return status === 1 && /^dev5 +node3 +alive +unreachable /m.test(stdout)
    })
  },
)
