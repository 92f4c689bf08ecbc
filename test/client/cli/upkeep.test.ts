import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import t from 'tap'
import Type, { type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { jsonShapes } from '../../../client/cli/json-shapes.ts'
import { describeQueues } from '../../../client/cli/queue.ts'
import type { FileInfo } from '../../../common/protocol/files.ts'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import type { FsckStatus, QueueList, RebalanceStatus } from '../../../common/protocol/upkeep.ts'
import { openSql } from '../../tracker/database.ts'
import { startPeer } from '../peer.ts'
import { until } from '../../helpers/until.ts'
import { copiesOf, startOmg, startSystem } from './omg.ts'

const system = await startSystem(t)
const { cwd, env, run, json } = system

const store = (key: string, text: string): Promise<void> =>
  system.store(key, text, '--durability', 'everywhere')

for (const key of ['a', 'b', 'c']) await store(key, `content ${key}`)

t.test('what is printed with --json has the shape that help tells', async t => {
  const list = (schema: TSchema): TSchema => Type.Array(schema)
  const cases: [string[], TSchema][] = [
    [['status'], jsonShapes.ClusterStatus],
    [['host', 'list'], list(jsonShapes.HostInfo)],
    [['device', 'list'], list(jsonShapes.DeviceInfo)],
    [['domain', 'list'], list(jsonShapes.DomainInfo)],
    [['class', 'list', 'photos'], list(jsonShapes.ClassInfo)],
    [['setting', 'list'], jsonShapes.Settings],
    [['token', 'list'], list(jsonShapes.TokenInfo)],
    [['node', 'key', 'node1'], jsonShapes.HostKey],
    [['stat', 'photos:a'], jsonShapes.FileInfo],
    [['ls', 'photos:a'], jsonShapes.FileInfo],
    [['fids', '--count', '1'], jsonShapes.FileInfo],
    [['locate', 'photos:a'], jsonShapes.Located],
    [['debug', 'photos:a'], jsonShapes.FileTraces],
    [['set', 'photos:a', '--meta', 'x=y'], jsonShapes.FileInfo],
    [['fsck', 'status'], jsonShapes.FsckStatus],
    [['rebalance', 'status'], jsonShapes.RebalanceStatus],
    [['queue', 'list'], jsonShapes.QueueList],
    [['queue', 'replicate-now'], jsonShapes.Replicated],
    [['console', 'version'], list(Type.String())],
    [['drain', 'list'], jsonShapes.DrainList],
    [['scrub', 'list'], list(jsonShapes.ScrubInfo)],
    [['scrub', 'sweeps'], jsonShapes.SweepList],
    [['audit', '--count', '1'], jsonShapes.AuditTrail.items],
    [['device', 'mark', '1', 'dead', '--dry-run'], jsonShapes.Consequences],
    [['top', '--count', '1'], jsonShapes.ClusterStatus],
  ]
  for (const [args, schema] of cases) {
    const values = await json(args)
    t.equal(values.length, 1, `${args.join(' ')} prints one line`)
    t.ok(Value.Check(schema, values[0]), `${args.join(' ')}: ${JSON.stringify(values[0])}`)
  }
})

t.test('why tells in one paragraph what becomes of a file', async t => {
  const well = await run(['why', 'photos:a'])
  t.equal(well.status, 0)
  t.match(
    well.stdout.replaceAll('\n', ' '),
    /^photos:a is fid \d+, 9 B, .* all is as it should be\. $/,
  )
  for (const line of well.stdout.split('\n')) t.ok(line.length <= 80, line)
  const [info] = await json<FileInfo>(['stat', 'photos:b'])
  rmSync(copiesOf(system, info?.fid ?? 0)[0] ?? '')
  const [told] = await json<{ well: boolean; good: number; text: string }>(['why', 'photos:b'])
  t.match(told, { well: false, good: 1, text: /where it is missing.* 1 copy is missing\./ })
  t.equal((await run(['why', 'photos:nope'])).status, 3)
})

t.test('debug looks at every copy and tells the bad ones, exit 1', async t => {
  t.equal((await run(['debug', 'photos:c'])).status, 0)
  const [info] = await json<FileInfo>(['stat', 'photos:c'])
  const fid = info?.fid ?? 0
  writeFileSync(copiesOf(system, fid)[0] ?? '', 'CONTENT c')
  const bytes = await run(['debug', '--fid', String(fid)])
  t.equal(bytes.status, 1)
  t.match(bytes.stdout, /^dev\d+: wrong bytes$/m)
  t.match(bytes.stdout, /^dev\d+: good$/m)
  t.equal((await run(['debug', 'photos:c', '--paths', 'stat'])).status, 0)
  t.match((await run(['debug', 'photos:c', '--paths', 'print'])).stdout, /^dev\d+: unchecked$/m)
  t.equal((await run(['debug'])).status, 2)
  t.equal((await run(['debug', 'photos:c', '--fid', '1'])).status, 2)
  t.match((await run(['debug', '--fid', '99999'])).stdout, /no file has this content/)
})

t.test('fsck is started, watched, and its log read and emptied', async t => {
  await run(['fsck', 'reset'])
  t.equal((await run(['fsck', 'start'])).status, 0)
  await until('fsck is through', async () => {
    const [status] = await json<FsckStatus>(['fsck', 'status'])
    return status?.running === false && (status.events['MISS'] ?? 0) > 0
  })
  t.match((await run(['fsck', 'status'])).stdout, /^ {5}Status: \d+ \/ \d+ \(100\.00%\)$/m)
  const log = await run(['fsck', 'log'])
  t.match(log.stdout, /^\S+ +MISS +\d+ +dev\d+ {2}a copy was missing$/m)
  const [entry] = await json(['fsck', 'log'])
  t.ok(Value.Check(jsonShapes.FsckLog.items, entry))

  const tail = startOmg(['fsck', 'taillog'], { cwd, env })
  const [first] = (await once(tail.stdout, 'data')) as [Buffer]
  t.match(first.toString(), 'MISS')
  tail.kill('SIGINT')
  t.same(await once(tail, 'exit'), [130, null])

  t.equal((await run(['fsck', 'clearlog'])).status, 2)
  t.equal((await run(['fsck', 'clearlog', '--dry-run'])).stdout, 'would empty the log of fsck\n')
  t.not((await run(['fsck', 'log'])).stdout, '')
  t.equal((await run(['fsck', 'clearlog', '--yes'])).status, 0)
  t.equal((await run(['fsck', 'log'])).stdout, '')
  t.equal((await run(['fsck', 'stop'])).status, 0)
})

t.test('a rebalance has a policy, is tested, started, stopped and forgotten', async t => {
  const none = await run(['rebalance', 'test'])
  t.equal(none.status, 1)
  t.match(none.stderr, /no_rebal_policy: .*omg rebalance policy/)
  const bad = await run(['rebalance', 'policy', 'bogus=1'])
  t.match(bad.stderr, /^omg rebalance policy: bad_rebal_pol: /)
  const [set] = await json<RebalanceStatus>([
    'rebalance',
    'policy',
    'from_devices=1',
    'limit_by=count',
    'limit=1',
  ])
  t.equal(set?.policy, 'from_devices=1 limit_by=count limit=1')
  t.match((await run(['rebalance', 'test'])).stdout, /^from +dev1\nto +dev2 /m)
  t.match(await json(['rebalance', 'start']), [{ running: true }])
  await until('it is through', async () => {
    const [status] = await json<RebalanceStatus>(['rebalance', 'status'])
    return status?.running === false
  })
  t.equal((await run(['rebalance', 'reset', '--dry-run'])).status, 0)
  t.equal((await run(['rebalance', 'reset'])).status, 0)
  t.match((await run(['rebalance', 'status'])).stdout, /^running +no\npolicy +from_devices=1 /)
})

t.test('stats counts files by class, copies and device', async t => {
  interface Counted {
    countedAt?: string
    classes: { domain: string; files: number; bytes: number; copies: object }[]
    devices: { files: number }[]
  }
  const [stats] = await json<Counted>(['stats'])
  const [fresh] = await json<Counted>(['stats', '--fresh'])
  t.strictSame({ ...fresh, countedAt: stats?.countedAt }, stats)
  t.match(stats?.classes, [{ domain: 'photos', files: 3, bytes: 27, copies: { 2: 3 } }])
  t.equal(
    stats?.devices.reduce((sum, { files }) => sum + files, 0),
    6,
  )
  const { stdout } = await run(['stats'])
  t.match(stdout, /^photos +default +3 +27 B +54 B +2: 3$/m)
  t.match(stdout, /^files counted \d:\d\d ago$/m)
})

t.test('set changes class, type and metadata and nothing else', async t => {
  await run(['class', 'add', 'photos', 'other'])
  const [before] = await json<FileInfo>(['stat', 'photos:a'])
  t.match(await json(['set', 'photos:a', '--class', 'other']), [
    { class: 'other', fid: before?.fid, metadata: before?.metadata },
  ])
  t.match(await json(['set', 'photos:a', '--content-type', 'x/y', '--meta', 'n=1']), [
    { class: 'other', contentType: 'x/y', metadata: { ...before?.metadata, n: '1' } },
  ])
  const [cleared] = await json<FileInfo>(['set', 'photos:a', '--clear-meta', '--content-type', ''])
  t.same([cleared?.metadata, cleared?.contentType], [{}, undefined])
  t.equal((await run(['set', 'photos:a'])).status, 2)
  t.equal((await run(['set', 'photos:a', '--class', 'nope'])).status, 3)
  t.equal((await run(['set', 'photos:nope', '--class', 'other'])).status, 3)
})

t.test('a deleted file is in the trash of its domain, and can be had back', async t => {
  t.match(await json(['domain', 'modify', 'photos', '--trash-seconds', '3600']), [
    { trashSeconds: 3600 },
  ])
  await store('trash/x', 'again')
  await run(['rm', 'photos:trash/x'])
  const [entry] = await json(['trash', 'list', 'photos:trash/'])
  t.ok(Value.Check(jsonShapes.TrashList.items, entry))
  t.equal((await run(['undelete', 'photos:trash/x'])).status, 0)
  t.equal((await run(['cat', 'photos:trash/x'])).stdout, 'again')
  t.match(await run(['undelete', 'photos:trash/x']), { status: 1, stderr: /key_exists/ })
  await run(['rm', 'photos:trash/x'])
  t.equal((await run(['trash', 'empty', 'photos:'])).status, 2)
  t.equal((await run(['trash', 'empty', 'photos:', '--dry-run'])).status, 0)
  t.match(await json(['trash', 'empty', 'photos:', '--yes']), [{ count: 1 }])
  t.same(await json(['trash', 'list', 'photos:']), [])
})

t.test('a device is drained and taken back, and all of it is in the audit', async t => {
  const waiting = json<{ devid: number }[]>(['drain', 'start', 'dev2', '--wait'])
  const sql = await openSql(t, system.databaseUrl)
  await until('every tracker has known for long', async () => {
    const begun = `update drain set requested_at = requested_at - interval '15 seconds' returning 1`
    return (await sql(begun)).length > 0
  })
  const [started] = await waiting
  t.match(started, [{ devid: 2, empty: true }])
  t.match((await run(['drain', 'list'])).stdout, /^dev2 +node1 +0 .* yes /m)
  t.equal((await run(['drain', 'stop', '2'])).status, 0)
  t.equal((await run(['drain', 'start', 'nowhere'])).status, 3)
  const { stdout } = await run(['audit', '--count', '5'])
  t.equal(stdout.trimEnd().split('\n').length, 5)
  t.match(stdout, /Z {2}admin@127\.0\.0\.1 {2}device\.drain {2}devid=2 {2}token 1$/m)
  t.equal((await run(['audit', '--before', 'yesterday'])).status, 2)
})

t.test('a scrub is started for what is named', async t => {
  const [scrub] = await json<{ id: number }>(['scrub', 'start', '--domain', 'photos'])
  t.ok(Value.Check(jsonShapes.ScrubInfo, scrub))
  t.match((await run(['scrub', 'list'])).stdout, /photos/)
  t.match(await json(['scrub', 'start', '--device', 'dev1']), [{ devid: 1 }])
  t.equal((await run(['scrub', 'start', '--class', 'x'])).status, 2)
  t.equal((await run(['scrub', 'start', '--domain', 'nope'])).status, 3)
  t.equal((await run(['scrub', 'stop', '4711'])).status, 3)
  t.equal((await run(['scrub', 'damage'])).status, 0)
})

t.test('the queues are told by state and age, and what was given up by fid', async t => {
  const { stdout } = await run(['queue', 'list'])
  t.match(stdout, /^QUEUE +WAITING +NEW +OVERDUE +LATER +STUCK +<1 MIN +<1 H +<1 D +OLDER\n/)
  t.same(stdout.match(/^[a-z]+(?= +\d)/gm), ['replicate', 'delete', 'fsck', 'rebalance'])
  t.same(await run(['queue', 'stuck']), { status: 0, stdout: '', stderr: '' })
  const queues: QueueList = [
    {
      queue: 'delete',
      waiting: 3,
      new: 0,
      overdue: 1,
      deferred: 0,
      stuck: 2,
      ages: { underMinute: 0, underHour: 0, underDay: 1, older: 2 },
      lastError: 'gone\u001b[2J',
    },
  ]
  t.match(describeQueues(queues), /^delete +3 +0 +1 +0 +2 +0 +0 +1 +2\ndelete: gone\\x1b\[2J\n$/m)
})

t.test('what was given up is printed a line each, however many there are', async t => {
  const stuck = Array.from({ length: 1500 }, (_, i) => ({
    fid: i + 1,
    attempts: 9,
    queuedAt: '2030-01-31T12:00:00.000Z',
    ...(i === 0 && { lastError: 'no room' }),
  }))
  const { url } = await startPeer(t, ({ url: path = '' }, reply) => {
    const asked = new URL(path, 'http://tracker').searchParams
    const after = Number(asked.get('after'))
    const counts = { waiting: 1, new: 0, overdue: 0, deferred: 0, ages: {} }
    const queues = [
      { queue: 'replicate', ...counts, stuck: 1500 },
      { queue: 'delete', ...counts, stuck: 0 },
    ]
    const answer = path.startsWith('/v1/queues/stuck') ? stuck.slice(after, after + 1000) : queues
    reply.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  })
  const told = await run(['queue', 'stuck', '--trackers', url])
  const lines = told.stdout.trimEnd().split('\n')
  t.equal(lines.length, 1500)
  t.equal(lines[0], 'replicate  fid 1  since 2030-01-31T12:00:00Z  tried 9 times  no room')
  t.match(await json(['queue', 'stuck', '--trackers', url]), [
    { queue: 'replicate', fid: 1, lastError: 'no room' },
  ])
})

t.test('the console of a tracker is asked, and watched until Ctrl-C', async t => {
  t.match((await run(['console', 'jobs'])).stdout, /^replicate count \d+$/m)
  t.same(await run(['console', '!version']), await run(['console', 'version']))
  t.match((await run(['console', 'want', '1', 'fsck'])).stdout, /^Now desiring 1 children/)
  const wrong = await run(['console', 'want', 'many'])
  t.same(wrong, {
    status: 1,
    stdout: '',
    stderr: 'omg console: usage: !want <count> <jobclass>\n',
  })
  t.equal((await run(['console', 'jobs\nshutdown'])).status, 2)
  t.equal((await run(['console', 'shutdown'])).status, 2)
  t.match((await run(['console', 'shutdown', '--dry-run'])).stdout, /^would stop the tracker at /)
  t.equal((await run(['console', 'jobs', '--wire', 'here'])).status, 2)
  const nowhere = await run(['console', 'jobs', '--wire', '127.0.0.1:1'])
  t.match(nowhere, { status: 1, stderr: /^omg console: 127\.0\.0\.1:1: .*ECONNREFUSED.*--wire/ })

  const watch = startOmg(['console', 'watch', '--json'], { cwd, env })
  const [first] = (await once(watch.stdout, 'data')) as [Buffer]
  t.equal(first.toString(), '"Added you to watcher list."\n')
  watch.kill('SIGINT')
  t.same(await once(watch, 'exit'), [130, null])
})

t.test('fids goes by number, as far as it is told', async t => {
  const all = await json<FileInfo>(['fids'])
  const fids = all.map(({ fid }) => fid)
  t.same(
    fids,
    fids.toSorted((a, b) => a - b),
  )
  const [first = 0] = fids
  t.same((await json<FileInfo>(['fids', '--from', String(first), '--count', '1'])).length, 1)
  t.match((await run(['fids'])).stdout, / {2}photos:a$/m)
})

t.test('top prints a line a round, and Ctrl-C ends it well', async t => {
  const counted = await run(['top', '--interval', '0.1', '--count', '3'])
  t.equal(counted.status, 0)
  t.equal(counted.stdout.trimEnd().split('\n').length, 4)
  t.notOk(counted.stdout.includes('\u001b'))
  const child = startOmg(['top', '--interval', '0.1'], { cwd, env })
  await once(child.stdout, 'data')
  child.kill('SIGINT')
  const [stderr, ended] = await Promise.all([text(child.stderr), once(child, 'exit')])
  t.same([stderr, ended], ['', [0, null]])
})

t.test('what destroys is only told with --dry-run', async t => {
  await run(['domain', 'add', 'films'])
  await run(['domain', 'add', 'books'])
  await run(['class', 'add', 'films', 'web'])
  await run(['host', 'add', 'spare', '--ip', '127.0.0.1'])
  await run(['token', 'add', 'spare', '--scope', 'admin'])
  const cases: [string[], RegExp][] = [
    [['rm', 'photos:a'], /^would delete photos:a\n$/],
    [['rm', '-r', 'photos:'], /^would delete photos:a\nwould delete photos:b\n/],
    [['class', 'delete', 'films', 'web'], /^would delete class web of films\n$/],
    [['domain', 'delete', 'books'], /^would delete domain books\n$/],
    [['host', 'delete', 'spare'], /^would delete host spare\n$/],
    [['host', 'mark', 'node1', 'dead'], /^would stop reading and writing what is on node1\n$/],
    [
      ['device', 'mark', '1', 'dead'],
      /^would give up all copies on dev1 \(\d+ files?, \d+ B(; \d+ files? of them with no other copy)?\)\n$/,
    ],
    [['device', 'mark', '1', 'down'], /^would change dev1\n$/],
    [['token', 'delete', 'spare'], /^would delete token spare\n$/],
    [['drain', 'start', 'dev1'], /^would move all files off dev1 \(\d+ files?, \d+ B/],
    [['drain', 'start', 'node1'], /^would move all files off node1 \(\d+ files?, \d+ B/],
  ]
  // Its exit status is about the health of the cluster.
  const statusNow = async (): Promise<ClusterStatus> =>
    JSON.parse((await run(['status', '--json'])).stdout) as ClusterStatus
  const before = await statusNow()
  for (const [args, said] of cases) {
    const { status, stdout, stderr } = await run([...args, '--dry-run'])
    t.same([status, stderr], [0, ''], args.join(' '))
    t.match(stdout, said)
  }
  for (const args of [
    ['rm', 'photos:nope'],
    ['class', 'delete', 'films', 'nope'],
    ['domain', 'delete', 'nope'],
    ['host', 'mark', 'nope', 'down'],
    ['device', 'mark', '4711', 'dead'],
    ['token', 'delete', 'nope'],
    ['drain', 'start', '4711'],
    ['drain', 'start', 'nope'],
  ]) {
    t.equal((await run([...args, '--dry-run'])).status, 3, args.join(' '))
  }
  for (const [args, code] of [
    [['domain', 'delete', 'photos'], 'domain_has_files'],
    [['domain', 'delete', 'films'], 'domain_has_classes'],
    [['class', 'delete', 'films', 'default'], 'nodel_default_class'],
    [['host', 'delete', 'node1'], 'host_not_empty'],
    [['host', 'modify', 'spare', '--ip', 'nowhere'], 'bad_params'],
  ] as const) {
    const { status, stderr } = await run([...args, '--dry-run'])
    t.equal(status, 1, args.join(' '))
    t.match(stderr, code)
  }
  const after = await statusNow()
  const states = ({ hosts, devices }: ClusterStatus): string[] =>
    [...hosts, ...devices].map(({ status }) => status)
  t.same(states(after), states(before))
  t.ok(existsSync(copiesOf(system, 1)[0] ?? ''))
})
