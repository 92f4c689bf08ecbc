import { chmodSync, writeFileSync } from 'node:fs'
import type { OutgoingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkCluster } from '../../../client/cli/doctor-cluster.ts'
import type { Finding } from '../../../client/cli/finding.ts'
import type { DeviceInfo } from '../../../common/protocol/configuration.ts'
import type { FileInfo } from '../../../common/protocol/files.ts'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import type { FsckStatus } from '../../../common/protocol/upkeep.ts'
import { until } from '../../helpers/until.ts'
import { startPeer } from '../peer.ts'
import { copiesOf, startSystem } from './omg.ts'

const system = await startSystem(t)
const { run, json, cwd } = system

/** What doctor finds, whatever its status. */
async function findings(...args: string[]): Promise<Finding[]> {
  const { stdout, stderr } = await run(['doctor', '--json', ...args])
  if (stderr !== '') throw new Error(stderr)
  return JSON.parse(stdout) as Finding[]
}

const bad = (all: readonly Finding[]): Finding[] => all.filter(({ level }) => level !== 'ok')

async function serve(t: Test, headers: OutgoingHttpHeaders, status = 200): Promise<string> {
  const { url } = await startPeer(t, (_, reply) => reply.writeHead(status, headers).end())
  return url
}

t.test('a cluster that is well has no problem, and each warning says what to do', async t => {
  const { status, stdout } = await run(['doctor', '--write', 'photos', '--site', system.reproxy])
  t.equal(status, 0, stdout)
  t.match(stdout, /^ok +node1: answers, and flushes files to disk/m)
  t.match(stdout, /^ok +node1: all of its 2 devices are mounted$/m)
  t.match(stdout, /^ok +node2: clock agrees/m)
  t.match(stdout, /^ok +database: /m)
  t.match(stdout, /^ok +probe: put of 2 flushed copies/m)
  t.match(stdout, /^ok +site: answers 200 through 1\.1 /m)
  t.match(stdout, /^WARNING +fsck: never ran\n +-> omg fsck start/m)
  t.match(stdout, /^0 problems, \d+ warnings?\n$/m)
  t.notOk(stdout.includes('\u001b'))
  t.same(await json(['ls', '-r', 'photos:omg-doctor/']), [])
  for (const { level, advice } of await findings()) t.equal(advice === undefined, level === 'ok')
})

t.test('a page that no reproxy stands in front of is told', async t => {
  const leaky = await serve(t, { 'x-reproxy-url': 'http://10.0.0.1/dev1/x' })
  const bare = await serve(t, {})
  const broken = await serve(t, { via: '1.1 omg' }, 502)
  for (const [url, text] of [
    [leaky, /shows x-reproxy-url to everybody/],
    [bare, /there is no reproxy on the way/],
    [broken, /answers 502/],
    ['http://127.0.0.1:1/', /cannot be reached/],
  ] as const) {
    const site = (await findings('--site', url)).filter(({ check }) => check === 'site')
    t.match(site, [{ text }])
  }
  t.equal((await run(['doctor', '--site', 'nowhere'])).status, 2)
})

t.test('rules that cannot be kept, devices that are not there and down ones are told', async t => {
  await run(['class', 'add', 'photos', 'many', '--mindevcount', '9'])
  await run(['device', 'add', 'node1', '77'])
  await run(['host', 'add', 'gone', '--ip', '127.0.0.1', '--port', '1', '--status', 'alive'])
  await run(['device', 'mark', '2', 'down'])
  const found = bad(await findings('--write', 'nope'))
  t.match(
    found.find(({ check }) => check === 'class photos many'),
    { level: 'warning', text: /asks for 9 copies .* only 3 hosts take files/ },
  )
  t.ok(
    found.some(
      ({ check, text }) => check === 'node1' && text === 'should have dev77, but does not',
    ),
  )
  t.ok(found.some(({ check, level }) => check === 'gone' && level === 'problem'))
  t.match(
    found.find(({ check }) => check === 'dev2'),
    { level: 'warning', advice: /omg device mark 2 alive/ },
  )
  t.match(
    found.find(({ check }) => check === 'probe'),
    { level: 'problem', text: /unreg_domain/ },
  )
  const { status, stdout } = await run(['doctor', '--quiet'])
  t.equal(status, 1)
  t.notMatch(stdout, /^ok/m)
  for (const args of [
    ['class', 'delete', 'photos', 'many'],
    ['device', 'mark', '77', 'dead', '--yes'],
    ['host', 'delete', 'gone'],
    ['device', 'mark', '2', 'alive'],
  ]) {
    t.equal((await run(args)).status, 0, args.join(' '))
  }
})

t.test('a token that others can read and a tracker that is away are told', async t => {
  const file = join(cwd, 'token')
  writeFileSync(file, system.token)
  chmodSync(file, 0o644)
  const found = await findings(
    '--token-file',
    file,
    '--trackers',
    `${system.http},http://127.0.0.1:1`,
  )
  t.ok(found.some(({ check, level }) => check === 'token' && level === 'problem'))
  t.ok(
    found.some(
      ({ check, text }) => check === 'http://127.0.0.1:1' && /cannot be reached/.test(text),
    ),
  )
  t.ok(found.some(({ check }) => check === 'node1'))
})

t.test('files of which no good copy is left are told as a problem', async t => {
  const put = ['put', '-', 'photos:rotten', '--durability', 'everywhere', '--json']
  const { fid } = JSON.parse((await run(put, { input: 'rotten' })).stdout) as FileInfo
  for (const path of copiesOf(system, fid)) writeFileSync(path, 'ROTTEN')
  await run(['scrub', 'start'])
  await until('the scrub has found it', async () => (await run(['scrub', 'damage'])).stdout !== '')
  const told = await run(['doctor'])
  t.equal(told.status, 1)
  t.match(told.stdout, /^PROBLEM +damage: no good copy is left of 1 file\n +-> omg scrub damage /m)
  t.equal(copiesOf(system, fid).length, 2, 'nothing is deleted')
  const read = await run(['cat', 'photos:rotten'])
  t.same([read.status, read.stdout.includes('ROTTEN')], [1, false])
  await run(['rm', 'photos:rotten'])
  t.notOk((await findings()).some(({ check }) => check === 'damage'))
})

t.test('standbys that no commit waits for are a warning', async t => {
  const [status] = await json<ClusterStatus>(['status'])
  const [fsck] = await json<FsckStatus>(['fsck', 'status'])
  if (!status || !fsck) throw new Error('there is no status')
  for (const [count, asynchronous, text] of [
    [0, 0, undefined],
    [2, 0, undefined],
    [1, 1, /^its standby is not synchronous: a failover may lose /],
    [3, 2, /^2 of its 3 standbys are not synchronous: /],
  ] as const) {
    const facts = { domains: [], fsck, damaged: 0, reserve: 0 }
    const found = checkCluster({
      status: { ...status, standbys: { count, asynchronous } },
      ...facts,
    })
    const told = found.filter(({ check }) => check === 'database')
    t.match(told, text ? [{ level: 'warning', text }] : [])
    t.equal(told.length, text ? 1 : 0)
  }
})

t.test('a node that has died is told as a problem', async t => {
  process.kill(system.pids['storage-node3'] ?? 0, 'SIGKILL')
  await until('the tracker has seen it', async () => {
    const [devices] = await json<DeviceInfo[]>(['device', 'list'])
    return devices?.some(({ observed }) => observed === 'unreachable') ?? false
  })
  const { status, stdout } = await run(['doctor'])
  t.equal(status, 1)
  t.match(stdout, /^PROBLEM +node3: cannot be reached/m)
})
