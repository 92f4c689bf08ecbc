import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { checkReceipt, parseReceipt } from '../../common/signing.ts'
import { until } from '../helpers/until.ts'
import { exchange, filesBelow, keys, secret, signed, startNode, statusAndCode } from './node.ts'

const replica = { devid: 1, fid: 7 }
const path = replicaPath(replica)
const md5 = (text: string): string => createHash('md5').update(text).digest('base64')
const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex')

void t.test('a signed PUT is answered with a receipt that names what was stored', async t => {
  const node = await startNode(t, { secret })
  const { status, headers } = await node.send('PUT', signed('PUT', replica), { body: 'hello' })
  t.equal(status, 201)
  const receipt = String(headers['omg-receipt'])
  t.ok(checkReceipt([keys], receipt))
  t.same(parseReceipt(receipt), { ...replica, size: 5, sha256: sha256('hello') })
  t.equal((await node.send('GET', signed('GET', replica))).body.toString(), 'hello')
  t.equal((await node.send('DELETE', signed('DELETE', replica))).status, 204)
  t.same(filesBelow(node.root), [])
})

void t.test('the content of a fid never changes under a signed PUT', async t => {
  const node = await startNode(t, { secret })
  const put = (body: string) => node.send('PUT', signed('PUT', replica), { body })
  const first = await put('hello')
  const again = await put('hello')
  t.equal(again.status, 201)
  t.equal(again.headers['omg-receipt'], first.headers['omg-receipt'])
  t.match(await put('HELLO'), { status: 409, code: 'fid_exists' })
  t.match(await put('longer than before'), { status: 409, code: 'fid_exists' })
  t.equal(readFileSync(join(node.root, path), 'utf8'), 'hello')
  t.same(filesBelow(node.root), [path.slice(1)], 'no temporary file stays')
})

void t.test(
  'of many who write a fid at once, one content wins and nobody is told otherwise',
  async t => {
    const node = await startNode(t, { secret })
    const bodies = Array.from({ length: 12 }, (_, i) => String(i % 3).repeat(100_000))
    const answers = await Promise.all(
      bodies.map(body => node.send('PUT', signed('PUT', replica), { body })),
    )
    const stored = readFileSync(join(node.root, path), 'utf8')
    answers.forEach(({ status }, i) => t.equal(status, bodies[i] === stored ? 201 : 409))
    t.same(filesBelow(node.root), [path.slice(1)])
  },
)

void t.test('an open node replaces a file, as MogileFS does', async t => {
  const node = await startNode(t)
  for (const body of ['one', 'two']) {
    t.equal((await node.send('PUT', path, { body })).status, 201)
    t.equal((await node.send('GET', path)).body.toString(), body)
  }
})

void t.test('a node with a secret that is open as well takes both kinds of requests', async t => {
  const node = await startNode(t, { secret, open: true })
  const unsigned = await node.send('PUT', path, { body: 'one' })
  t.equal(unsigned.status, 201)
  t.ok(checkReceipt([keys], String(unsigned.headers['omg-receipt'])))
  t.match(await node.send('PUT', signed('PUT', replica), { body: 'two' }), { status: 409 })
  t.match(await node.send('GET', `${path}?nonsense`), { status: 403, code: 'bad_token' })
})

void t.test('Content-MD5 is compared, and an old file outlives a wrong one', async t => {
  const node = await startNode(t)
  const put = (body: string, digest: string) =>
    node.send('PUT', path, { body, headers: { 'content-md5': digest } })
  t.equal((await put('hello', md5('hello'))).status, 201)
  t.equal((await put('hello', md5('hello').replace('==', ''))).status, 201, 'without padding')
  t.match(await put('.', md5('!')), { status: 400, code: 'checksum_mismatch' })
  for (const digest of ['zz', md5('.').slice(1), `${md5('.')}=`, `${md5('.')}, ${md5('.')}`]) {
    t.match(await put('.', digest), { status: 400, code: 'bad_checksum' }, digest)
  }
  t.equal(readFileSync(join(node.root, path), 'utf8'), 'hello')
  t.same(filesBelow(node.root), [path.slice(1)])
})

void t.test('a body in chunks and a body of many megabytes arrive whole', async t => {
  const node = await startNode(t)
  const bytes = randomBytes(9 * 1024 * 1024 + 17)
  const outgoing = request({ port: node.port, method: 'PUT', path })
  for (let at = 0; at < bytes.length; at += 100_003)
    outgoing.write(bytes.subarray(at, at + 100_003))
  outgoing.end()
  const status = await new Promise(resolve => {
    outgoing.on('response', response => {
      response.resume()
      resolve(response.statusCode)
    })
  })
  t.equal(status, 201)
  const got = await node.send('GET', path)
  t.equal(got.headers['content-length'], String(bytes.length))
  t.ok(got.body.equals(bytes))
  const part = await node.send('GET', path, { headers: { range: 'bytes=1000000-8999999' } })
  t.ok(part.body.equals(bytes.subarray(1_000_000, 9_000_000)))
  const tiny = '1\r\nx\r\n'.repeat(5000)
  const head = 'PUT /dev1/a/tiny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n'
  t.match(
    await exchange(node.port, `${head}Connection: close\r\n\r\n${tiny}0\r\n\r\n`),
    /^HTTP\/1.1 201/,
  )
  t.equal((await node.send('GET', '/dev1/a/tiny')).body.toString(), 'x'.repeat(5000))
  const longest = `/dev1/${'n'.repeat(255)}`
  t.equal((await node.send('PUT', longest, { body: 'x' })).status, 201)
})

void t.test('a body that ends early leaves nothing', async t => {
  const node = await startNode(t)
  const heads = [
    `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n`,
    `PUT ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n`,
  ]
  for (const head of heads) {
    const socket = connect(node.port, '127.0.0.1')
    socket.write(head + 'x'.repeat(600_000))
    await until('a temporary file', () => filesBelow(node.root).length === 1)
    t.notOk(existsSync(join(node.root, path)), 'not visible under its name')
    t.equal((await node.send('GET', path)).status, 404)
    const goneAt = performance.now()
    socket.destroy()
    await until('nothing is left', () => filesBelow(node.root).length === 0)
    t.ok(performance.now() - goneAt < 1000)
  }
  const broken =
    'PUT /dev1/a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n'
  t.equal(statusAndCode(await exchange(node.port, broken)), '400 bad_request')
  await until('nothing is left', () => filesBelow(node.root).length === 0)
})

void t.test('a client that asks whether to go on is told so once its request is fine', async t => {
  const node = await startNode(t, { secret })
  const ask = (target: string): string =>
    `PUT ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`
  t.equal(statusAndCode(await exchange(node.port, ask(path))), '403 bad_token')

  const socket = connect(node.port, '127.0.0.1')
  let answer = ''
  socket.on('data', chunk => (answer += chunk.toString()))
  socket.write(ask(signed('PUT', replica)))
  await until('100 Continue', () => answer === 'HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('hello')
  await until('the answer', () => /\r\n\r\nHTTP\/1\.1 201 Created\r\n/.test(answer))
  socket.destroy()
})

void t.test('directories that someone removed are made again', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'x' })
  rmSync(join(node.root, 'dev1'), { recursive: true })
  t.match(await node.send('PUT', path, { body: 'x' }), { status: 404, code: 'no_such_device' })
  t.notOk(existsSync(join(node.root, 'dev1')), 'but never the device itself')
  const other = replicaPath({ devid: 2, fid: 7 })
  await node.send('PUT', other, { body: 'x' })
  rmSync(join(node.root, 'dev2', '0'), { recursive: true })
  t.equal((await node.send('PUT', other, { body: 'y' })).status, 201)
  t.equal((await node.send('GET', other)).body.toString(), 'y')
})

void t.test('an answer that comes before the body was read reaches its client', async t => {
  const node = await startNode(t, { secret })
  const bytes = Buffer.alloc(32 * 1024 * 1024)
  const answer = await node.send('PUT', path, { body: bytes })
  t.match(answer, { status: 403, code: 'bad_token', headers: { connection: 'close' } })
})
