import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { until } from '../helpers/until.ts'
import { startDaemon } from './daemon.ts'
import { makeFaultyDisk, noFaults } from './faulty-disk.ts'
import { freePort } from '../helpers/edges.ts'
import { filesBelow, send } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })

function rootWithDevice(t: Test): string {
  const root = t.testdir()
  mkdirSync(join(root, 'dev1'))
  return root
}

const other = replicaPath({ devid: 2, fid: 7 })

for (const [what, fault] of [
  ['write', 'W'],
  ['flush', 'F'],
] as const) {
  void t.test(
    `a failed ${what} is final: no OK, no file, and the device is read-only`,
    { skip: noFaults },
    async t => {
      const root = rootWithDevice(t)
      mkdirSync(join(root, 'dev2'))
      const disk = makeFaultyDisk(root)
      const node = await startDaemon(t, root, disk.env)
      const old = replicaPath({ devid: 1, fid: 8 })
      t.equal((await send(node.port, 'PUT', old, { body: 'old' })).status, 201)
      const failed = { status: 503, code: 'device_failed' }
      disk.fail(fault)
      t.match(await send(node.port, 'PUT', path, { body: 'x' }), failed)
      disk.mend()
      t.match(await send(node.port, 'PUT', path, { body: 'x' }), failed)
      t.match(await send(node.port, 'DELETE', old), failed)
      t.match((await send(node.port, 'GET', '/dev1/usage')).body.toString(), 'available: 0\n')
      t.equal((await send(node.port, 'PUT', other, { body: 'x' })).status, 201, 'others go on')
      t.equal((await send(node.port, 'GET', old)).body.toString(), 'old', 'reads go on')
      t.same(filesBelow(join(root, 'dev1')), [old.slice('/dev1/'.length)])
      await node.kill('SIGTERM')

      const again = await startDaemon(t, root, disk.env)
      t.equal((await send(again.port, 'PUT', path, { body: 'x' })).status, 201)
      await again.kill('SIGTERM')
    },
  )
}

void t.test(
  'what fails one process has failed all of them, also those to come',
  { skip: noFaults },
  async t => {
    const root = rootWithDevice(t)
    const disk = makeFaultyDisk(root)
    const node = await startDaemon(t, root, disk.env, [
      '--workers',
      '2',
      '--listen',
      `127.0.0.1:${await freePort()}`,
      '--failed-retry-seconds',
      '3600',
    ])
    const workers = (): string[] =>
      readFileSync(`/proc/${node.child.pid}/task/${node.child.pid}/children`, 'utf8')
        .trim()
        .split(' ')
    const first = workers()
    disk.fail('F')
    t.equal((await send(node.port, 'PUT', path, { body: 'x' })).status, 503)
    disk.mend()
    const put = () => send(node.port, 'PUT', path, { body: 'x', patienceMs: 5_000 })
    const failed = { status: 503, code: 'device_failed' }
    await until('all refuse', async () => {
      for (let i = 0; i < 4; i++) if ((await put()).status !== 503) return false
      return true
    })
    for (const pid of first) process.kill(Number(pid), 'SIGKILL')
    await until('others answer', () => put().catch(() => undefined))
    t.notOk(workers().some(pid => first.includes(pid)))
    for (let i = 0; i < 4; i++) t.match(await put(), failed)
    t.notOk(filesBelow(join(root, 'dev1')).some(name => name.endsWith('.tmp')))
    await node.kill('SIGTERM')
  },
)

void t.test(
  'a disk that has failed is used again by all processes once it can be written to for a while',
  { skip: noFaults },
  async t => {
    const root = rootWithDevice(t)
    const disk = makeFaultyDisk(root)
    const listen = ['--listen', `127.0.0.1:${await freePort()}`]
    const soon = ['--failed-retry-seconds', '0.1']
    const { port } = await startDaemon(t, root, disk.env, ['--workers', '2', ...listen, ...soon])
    const part = (range: string, body = '') =>
      send(port, 'PUT', replicaPath({ devid: 1, fid: 9 }), {
        body,
        headers: { 'content-range': `bytes ${range}/6` },
      })
    t.equal((await part('0-2', 'abc')).status, 202)
    /** True when each of many connections, which are spread over the processes, gets this answer. */
    const allAnswer = async (status: number): Promise<boolean> => {
      for (let i = 0; i < 8; i++) {
        if ((await send(port, 'PUT', path, { body: 'x' })).status !== status) return false
      }
      return true
    }
    for (const fault of ['F', 'W'] as const) {
      disk.fail(fault)
      await until('all refuse', () => allAnswer(503))
      t.match((await send(port, 'GET', '/dev1/usage')).body.toString(), 'available: 0\n')
      disk.mend()
      await until('all take writes again', () => allAnswer(201))
      t.notMatch((await send(port, 'GET', '/dev1/usage')).body.toString(), 'available: 0\n')
      t.equal((await send(port, 'GET', path)).body.toString(), 'x')
      t.equal((await send(port, 'DELETE', path)).status, 204)
    }
    t.equal((await part('*')).headers['omg-offset'], '0', 'a file in parts is to be begun anew')
  },
)

void t.test(
  'a file that cannot be read is an error or a broken answer',
  { skip: noFaults },
  async t => {
    const root = rootWithDevice(t)
    const disk = makeFaultyDisk(root)
    const node = await startDaemon(t, root, disk.env)
    await send(node.port, 'PUT', path, { body: Buffer.alloc(4 * 1024 * 1024) })
    disk.fail('R')
    const failed = { status: 503, code: 'device_failed' }
    t.match(await send(node.port, 'GET', path), failed)
    t.match(
      await send(node.port, 'GET', path, { headers: { 'want-repr-digest': 'sha-256' } }),
      failed,
    )
    const told = async () => (await send(node.port, 'GET', '/dev1/usage')).body.toString()
    t.match(await told(), /^total: \d+\nunreadable: 7\nuse: /m)
    disk.fail('M')
    await t.rejects(send(node.port, 'GET', path), 'it breaks off where reading failed')
    const last = { body: 'abc', headers: { 'content-range': 'bytes 0-2/3' } }
    disk.fail('R')
    t.match(await send(node.port, 'PUT', replicaPath({ devid: 1, fid: 9 }), last), failed)
    disk.mend()
    t.equal((await send(node.port, 'GET', path)).body.length, 4 * 1024 * 1024)
    t.equal(
      (await send(node.port, 'PUT', path, { body: 'x' })).status,
      201,
      'writes are not affected',
    )
  },
)

void t.test(
  'a disk that hangs is given up after ten seconds, and leaves the others alone',
  { skip: noFaults },
  async t => {
    const root = rootWithDevice(t)
    mkdirSync(join(root, 'dev2'))
    const disk = makeFaultyDisk(root)
    const node = await startDaemon(t, root, { ...disk.env, UV_THREADPOOL_SIZE: '16' })
    const old = replicaPath({ devid: 1, fid: 8 })
    for (const at of [old, other]) {
      t.equal((await send(node.port, 'PUT', at, { body: 'x' })).status, 201)
    }
    disk.fail('H')
    const digest = () =>
      send(node.port, 'HEAD', old, { headers: { 'want-repr-digest': 'sha-256' } })
    const digests = [digest(), digest()]
    const hanging = Array.from({ length: 20 }, (_, i) =>
      send(node.port, 'PUT', replicaPath({ devid: 1, fid: 100 + i }), { body: 'x' }),
    )
    let ended = false
    const answers = Promise.all(hanging).finally(() => {
      ended = true
    })
    for (let i = 0; i < 20; i++) {
      t.equal((await send(node.port, 'PUT', other, { body: 'y' })).status, 201)
      t.equal((await send(node.port, 'GET', other)).status, 200)
    }
    t.notOk(ended, 'meanwhile')
    const failed = { status: 503, code: 'device_failed' }
    for (const answer of await answers) t.match(answer, failed)
    for (const answer of await Promise.all(digests)) t.equal(answer.status, 503, 'of digests too')
    const askedAt = performance.now()
    t.match(await send(node.port, 'PUT', path, { body: 'x' }), failed)
    t.equal((await digest()).status, 503)
    t.ok(performance.now() - askedAt < 5_000, 'who comes now is told at once')
    disk.mend()
    await until('the disk is used again', async () => {
      return (await send(node.port, 'PUT', path, { body: 'back' })).status === 201
    })
    t.equal((await send(node.port, 'GET', path)).body.toString(), 'back')
    await until('it is read for digests again', async () => (await digest()).status === 200)
    t.equal((await send(node.port, 'GET', '/health')).status, 200)
  },
)
