import { createServer, type Server } from 'node:net'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { checkReceipt, signGrant } from '../../common/signing.ts'
import { createHash } from 'node:crypto'
import { Buffers } from '../../storage-node/writing/buffers.ts'
import { createPuller } from '../../storage-node/pull/source.ts'
import { filesBelow, keys, secret, signed, startNode, type TestNode } from './node.ts'

const bytes = 'the bytes of file seven'
const digestOf = (text: string): string =>
  `sha-256=:${createHash('sha256').update(text).digest('base64')}:`
const target = replicaPath({ devid: 2, fid: 7 })
const at = (devid: number, fid = 7): string => replicaPath({ devid, fid })

/** A server that sends `answer` to whoever connects; counts them. */
async function startFake(
  t: Test,
  answer: string,
): Promise<{ origin: string; connections: () => number }> {
  let connections = 0
  const server: Server = createServer(socket => {
    connections++
    socket.on('error', () => {})
    socket.once('data', () => socket.end(answer))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const origin = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { origin, connections: () => connections }
}

const copy = (node: TestNode, path: string, headers: Record<string, string>) =>
  node.send('COPY', path, { headers })

/** The path of a copy, signed for where it may come from. */
function signedCopy(origin: string): string {
  const grant = { method: 'COPY', devid: 2, object: `7@${origin}` } as const
  return `${target}?${signGrant(keys, grant, Math.floor(Date.now() / 1000) + 60)}`
}

void t.test('a node fetches a replica from another, and vouches for what it stored', async t => {
  const from = await startNode(t, { secret, root: t.testdir({ from: {} }) + '/from', devices: [1] })
  const to = await startNode(t, { secret, root: t.testdirName + '/to', devices: [2] })
  await from.send('PUT', signed('PUT', { devid: 1, fid: 7 }), { body: bytes })
  const origin = `127.0.0.1:${from.port}`
  const source = `http://${origin}${signed('GET', { devid: 1, fid: 7 })}`
  const expected = {
    'omg-expected-size': String(bytes.length),
    'omg-expected-digest': digestOf(bytes),
  }
  for (let i = 0; i < 2; i++) {
    const answer = await copy(to, signedCopy(origin), { source, ...expected })
    t.equal(answer.status, 201, 'once more is the same')
    t.ok(checkReceipt([keys], String(answer.headers['omg-receipt'])))
    t.equal(answer.headers['repr-digest'], digestOf(bytes))
  }
  t.equal((await to.send('GET', signed('GET', { devid: 2, fid: 7 }))).body.toString(), bytes)
  const elsewhere = signedCopy('127.0.0.1:1')
  t.match(await copy(to, elsewhere, { source }), { status: 403, code: 'bad_token' })
  t.match(await copy(to, signed('PUT', { devid: 2, fid: 7 }), { source }), { status: 403 })
  const gone = source.replace(/\?.*/, '')
  t.match(await copy(to, signedCopy(origin), { source: gone }), {
    status: 502,
    code: 'source_failed',
  })
})

void t.test('a small file arrives whole while others have all large buffers', async t => {
  const whole = Buffer.alloc(200 * 1024, 'x')
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${whole.length}\r\n\r\n`
  const { origin } = await startFake(t, head + whole.toString())
  const buffers = new Buffers()
  for (let taken = 0; taken < 100; taken++) buffers.take(1024 * 1024)
  const puller = createPuller(buffers)
  t.teardown(() => puller.close())
  const url = new URL(`http://${origin}${at(1)}`)
  const pulled = await puller.open({ origin, url }, whole.length)
  t.ok(pulled.whole?.equals(whole))
})

void t.test('a source may answer in HTTP/1.0, as Perlbal does', async t => {
  const head = `HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: ${bytes.length}\r\n\r\n`
  const { origin } = await startFake(t, head + bytes)
  const node = await startNode(t, { sources: origin })
  for (const fid of [7, 8]) {
    const answer = await copy(node, at(2, fid), { source: `http://${origin}${at(1, fid)}` })
    t.equal(answer.status, 201)
  }
})

void t.test('a source that is not on the list is not even connected to', async t => {
  const fake = await startFake(t, '')
  const node = await startNode(t, { sources: '127.0.0.1:1' })
  const sources = [
    `http://${fake.origin}${at(1)}`,
    `https://${fake.origin}${at(1)}`,
    `ftp://${fake.origin}${at(1)}`,
    `file://${at(1)}`,
    `http://127.0.0.1:1@${fake.origin}${at(1)}`,
    `http://user:password@${fake.origin}${at(1)}`,
    `http://${fake.origin}#@127.0.0.1:1${at(1)}`,
    `http://${fake.origin}\\@127.0.0.1:1${at(1)}`,
    `http://127.0.0.1:1${at(2)}`,
    `http://127.0.0.1:1${at(1, 8)}`,
    'http://127.0.0.1:1/',
    'http://127.0.0.1:1/dev1/usage',
    'nonsense',
    '',
  ]
  for (const source of sources) {
    t.match(await copy(node, target, { source }), { status: 403, code: 'source_refused' }, source)
  }
  t.equal(fake.connections(), 0)
  t.match(await copy(node, target, {}), { status: 400, code: 'bad_request' })
  t.match(await copy(node, '/dev2/usage', { source: sources[0]! }), { status: 400 })
  t.match(await copy(node, at(9), { source: `http://127.0.0.1:1${at(1)}` }), { status: 404 })
  t.same(filesBelow(node.root), [])
})

void t.test('a source that points elsewhere is not followed', async t => {
  const other = await startFake(t, '')
  const redirect = `Location: http://${other.origin}${at(1)}\r\nContent-Length: 0\r\n\r\n`
  const fakes = await Promise.all(
    [301, 302, 307, 308].map(status => startFake(t, `HTTP/1.1 ${status} Away\r\n${redirect}`)),
  )
  const sources = [other, ...fakes].map(({ origin }) => origin).join(',')
  const node = await startNode(t, { sources })
  for (const { origin } of fakes) {
    const answer = await copy(node, target, { source: `http://${origin}${at(1)}` })
    t.match(answer, { status: 403, code: 'source_refused' })
  }
  t.equal(other.connections(), 0)
  t.same(filesBelow(node.root), [])
})

void t.test('a source that is not what was announced leaves no file', async t => {
  const ok = (length: number, body: string): string =>
    `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n${body}`
  const answers: [what: string, answer: string][] = [
    ['short', ok(bytes.length, bytes.slice(1))],
    ['of another length', ok(bytes.length + 1, `${bytes}x`)],
    ['of other bytes', ok(bytes.length, bytes.replace('b', 'B'))],
    ['without a length', `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${bytes}`],
    ['missing', 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'],
    ['garbage', 'garbage\r\n\r\n'],
    ['silent', ''],
  ]
  const fakes = await Promise.all(answers.map(([, answer]) => startFake(t, answer)))
  const node = await startNode(t, { sources: fakes.map(({ origin }) => origin).join(',') })
  for (const [i, [what]] of answers.entries()) {
    const answer = await copy(node, target, {
      source: `http://${fakes[i]!.origin}${at(1)}`,
      'omg-expected-size': String(bytes.length),
      'omg-expected-digest': digestOf(bytes),
    })
    t.match(answer, { status: 502, code: 'source_failed' }, what)
  }
  t.same(filesBelow(node.root), [])
  const source = `http://${fakes[0]!.origin}${at(1)}`
  const unusual = [{ 'omg-expected-size': '-1' }, { 'omg-expected-digest': 'sha-256=:AA==:' }]
  for (const headers of unusual)
    t.equal((await copy(node, target, { source, ...headers })).status, 400)
})
