import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync } from 'node:fs'
import { get, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { connectRaw, type RawHttp } from '../bench/raw-http.ts'
import { runProgram, startDaemon } from './daemon.ts'
import { freePort } from '../helpers/edges.ts'
import { until } from '../helpers/until.ts'
import { filesBelow, send } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })

function rootWithDevice(t: Test): string {
  const root = t.testdir()
  mkdirSync(join(root, 'dev1'))
  return root
}

void t.test(
  'a node killed in the middle of a PUT leaves no visible file, and none at all once it is back',
  async t => {
    const root = rootWithDevice(t)
    const node = await startDaemon(t, root)
    const done = replicaPath({ devid: 1, fid: 8 })
    t.equal((await send(node.port, 'PUT', done, { body: 'acknowledged' })).status, 201)
    const socket = connect(node.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n`)
    socket.write(Buffer.alloc(3_000_000))
    await until('a temporary file', () => filesBelow(root).some(name => name.endsWith('.tmp')))
    await node.kill('SIGKILL')
    t.notOk(filesBelow(root).includes(path.slice(1)))
    t.equal(filesBelow(root).length, 2, 'the temporary file is still there')

    const again = await startDaemon(t, root)
    t.same(filesBelow(root), [done.slice(1)])
    t.equal((await send(again.port, 'GET', done)).body.toString(), 'acknowledged')
    t.equal((await send(again.port, 'GET', path)).status, 404)
    t.equal((await send(again.port, 'PUT', path, { body: 'x' })).status, 201)
    await again.kill('SIGKILL')
  },
)

void t.test('a node told to end does so at once, idle connections or not', async t => {
  const node = await startDaemon(t, rootWithDevice(t))
  const socket = connect(node.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await new Promise(resolve => socket.once('data', resolve))
  t.equal(await node.kill('SIGTERM'), 0)
  socket.destroy()
})

const onLinux = { skip: process.platform !== 'linux' && 'reads /proc' }

const memory = (pid: number | undefined, field: string): number =>
  Number(
    new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
  )

void t.test('a large file goes in and out in little memory', onLinux, async t => {
  const { child, port, kill } = await startDaemon(t, rootWithDevice(t))
  await send(port, 'GET', '/dev1/usage')
  const before = memory(child.pid, 'VmRSS')
  const piece = Buffer.alloc(1_000_000, 'omgfiles')
  const pieces = 300
  const sent = createHash('sha256')
  const body = function* (): Generator<Buffer> {
    for (let i = 0; i < pieces; i++) {
      sent.update(piece)
      yield piece
    }
  }
  const outgoing = request({
    port,
    method: 'PUT',
    path,
    headers: { 'content-length': piece.length * pieces },
  })
  const digest = new Promise<unknown>((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', response => {
      response.resume()
      resolve(response.headers['repr-digest'])
    })
  })
  await pipeline(Readable.from(body()), outgoing)
  const sha256 = sent.digest()
  t.equal(await digest, `sha-256=:${sha256.toString('base64')}:`)

  const received = createHash('sha256')
  await new Promise<void>((resolve, reject) => {
    get({ port, path }, response => {
      pipeline(response, received).then(resolve, reject)
    })
  })
  t.ok(received.digest().equals(sha256))
  const grown = Math.round((memory(child.pid, 'VmHWM') - before) / 1024)
  t.ok(grown < 150, `grew by ${grown} MiB at the most`)
  await kill('SIGTERM')
})

void t.test('200 clients at once are served in 150 MB', onLinux, async t => {
  const { child, port, kill } = await startDaemon(t, rootWithDevice(t))
  const place = (fid: number): string => replicaPath({ devid: 1, fid })
  const body = Buffer.alloc(1024 * 1024, 'omgfiles')
  t.equal((await send(port, 'PUT', place(1), { body })).status, 201)
  const read = Buffer.from(`GET ${place(1)} HTTP/1.1\r\nHost: a\r\n\r\n`)
  const put = (fid: number): Buffer => {
    const head = `PUT ${place(fid)} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`
    return Buffer.concat([Buffer.from(head), body])
  }
  const puts = Array.from({ length: 10 }, (_, i) => put(i + 2))
  const clients = await Promise.all(Array.from({ length: 200 }, () => connectRaw(port)))
  t.teardown(() => clients.forEach(client => client.close()))
  const work = async (client: RawHttp, i: number): Promise<void> => {
    for (let round = 0; round < 4; round++) {
      const writes = (i + round) % 2 === 0
      const bytes = await client.ask(writes ? puts[i % puts.length]! : read)
      if (bytes !== (writes ? 0 : body.length)) throw new Error(`${bytes} bytes came`)
    }
  }
  await Promise.all(clients.map(work))
  const most = Math.round((memory(child.pid, 'VmHWM') * 1024) / 1e6)
  t.ok(most < 150, `${most} MB at the most`)
  await kill('SIGTERM')
})

void t.test('several processes serve one port, and one that dies is replaced', onLinux, async t => {
  const root = rootWithDevice(t)
  const listen = `127.0.0.1:${await freePort()}`
  const node = await startDaemon(t, root, {}, ['--workers', '2', '--listen', listen])
  const { pid } = node.child
  const workers = (): string[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  const work = async (): Promise<void> => {
    for (let fid = 1; fid < 20; fid++) {
      const at = replicaPath({ devid: 1, fid })
      t.equal((await send(node.port, 'PUT', at, { body: String(fid) })).status, 201)
      t.equal((await send(node.port, 'GET', at)).body.toString(), String(fid))
    }
  }
  const first = workers()
  t.equal(first.length, 2)
  await work()
  for (let i = 0; i < 3; i++) {
    const { body } = await send(node.port, 'GET', '/metrics')
    const puts = /^storage_node_requests_total\{method="PUT",code="201"\} (\d+)$/m
    t.equal(puts.exec(body.toString())?.[1], '19', 'whoever is asked counts for all')
    t.match(body.toString(), 'storage_node_device_writeable{device="1",state="writeable"} 1\n')
  }
  process.kill(Number(first[0]), 'SIGKILL')
  await until('another one is there', () => {
    const now = workers()
    return now.length === 2 && !now.includes(first[0]!)
  })
  await work()
  renameSync(root, `${root}-away`)
  process.kill(Number(workers().find(pid => !first.includes(pid))), 'SIGKILL')
  const count = (n: number) => (): boolean => workers().length === n
  await until('one is missing', count(1))
  await until('another one is tried', count(2))
  await until('it could not start', count(1))
  renameSync(`${root}-away`, root)
  await until('it is tried again', count(2))
  await work()
  t.equal(await node.kill('SIGTERM'), 0)
})

void t.test('what a process that dies was writing, another may go on with', onLinux, async t => {
  const root = rootWithDevice(t)
  const node = await startDaemon(t, root, {}, ['--workers', '2'])
  const put = (body: string, range: string) =>
    send(node.port, 'PUT', path, {
      body,
      headers: { 'content-range': `bytes ${range}` },
      patienceMs: 5_000,
    })
  t.equal((await put('abc', '0-2/6')).status, 202)
  const socket = connect(node.port, '127.0.0.1')
  socket.on('error', () => {})
  const head = `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 3-5/6\r\n`
  socket.write(`${head}Content-Length: 3\r\n\r\nd`)
  const { pid: supervisor } = node.child
  const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8')
  const writer = await until('one writes the part', () =>
    children.trim().split(' ').map(Number).find(holdsPart),
  )
  for (let i = 0; i < 10; i++) {
    t.match(await put('def', '3-5/6'), { status: 503, code: 'overloaded' }, 'whoever is asked')
  }
  process.kill(writer, 'SIGKILL')
  await until('the part can be written', async () => {
    const answer = await put('def', '3-5/6').catch(() => undefined)
    return answer?.status === 201
  })
  t.equal((await send(node.port, 'GET', path)).body.toString(), 'abcdef')
  socket.destroy()
  await node.kill('SIGTERM')
})

/** True for a process that has a file of parts open. */
function holdsPart(pid: number): boolean {
  const directory = `/proc/${pid}/fd`
  return readdirSync(directory).some(fd => {
    try {
      return readlinkSync(join(directory, fd)).endsWith('.part')
    } catch {
      return false // it has been closed meanwhile
    }
  })
}

void t.test('a node that flushes nothing says so', async t => {
  const root = rootWithDevice(t)
  const node = await startDaemon(t, root, {}, ['--fsync', 'off'])
  t.match((await send(node.port, 'GET', '/')).body.toString(), '"fsync":"off"')
  t.equal((await send(node.port, 'PUT', path, { body: 'x' })).status, 201)
  t.equal((await send(node.port, 'GET', path)).body.toString(), 'x')
  await node.kill('SIGTERM')
})

void t.test('settings that cannot be used end in one line and status 2', async t => {
  const { status, stdout, stderr } = await runProgram(['--root', t.testdir()])
  t.equal(status, 2)
  t.match(stderr, /^omg storage-node: --secret-file or --open: [^\n]+\n$/)
  t.equal(stdout, '')
})

void t.test('a root that is no directory ends the start', async t => {
  const { status, stdout } = await runProgram(['--open', '--root', join(t.testdir(), 'nowhere')])
  t.equal(status, 2)
  t.match(stdout, /--root: .* is not a directory/)
})

void t.test('--help names every setting', async t => {
  const { status, stdout } = await runProgram(['--help'])
  t.equal(status, 0)
  for (const flag of [
    'listen',
    'side-listen',
    'side-allow',
    'sources',
    'fsync',
    'workers',
    'root',
    'name',
    'secret-file',
    'previous-secret-file',
    'open',
    'log-level',
  ]) {
    t.match(stdout, `--${flag}`)
  }
})
