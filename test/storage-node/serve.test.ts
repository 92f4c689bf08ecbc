import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { fidPath, replicaPath } from '../../common/layout.ts'
import { exchange, startNode, statusAndCode } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })

void t.test('what was put is read back, with all that a client needs to know of it', async t => {
  const node = await startNode(t)
  const put = await node.send('PUT', path, { body: 'hello' })
  t.equal(put.status, 201)
  const digest = createHash('sha256').update('hello').digest('base64')
  t.equal(put.headers['repr-digest'], `sha-256=:${digest}:`)
  t.notOk(put.headers['omg-receipt'], 'without a secret there is nothing to sign with')

  const got = await node.send('GET', path)
  t.equal(got.status, 200)
  t.equal(got.body.toString(), 'hello')
  t.equal(got.headers['content-length'], '5')
  t.equal(got.headers['content-type'], 'application/octet-stream')
  t.equal(got.headers['accept-ranges'], 'bytes')
  t.ok(Date.parse(got.headers['last-modified'] ?? '') > Date.now() - 60_000)

  const head = await node.send('HEAD', path)
  t.match(head, { status: 200, headers: { 'content-length': '5' } })
  t.equal(head.body.length, 0)
})

void t.test('an empty file has a length too', async t => {
  const node = await startNode(t)
  t.equal((await node.send('PUT', path)).status, 201)
  t.match(await node.send('GET', path), { status: 200, headers: { 'content-length': '0' } })
  t.match(await node.send('HEAD', path), { status: 200, headers: { 'content-length': '0' } })
  t.match(await node.send('GET', path, { headers: { range: 'bytes=0-' } }), {
    status: 416,
    code: 'range_not_satisfiable',
    headers: { 'content-range': 'bytes */0' },
  })
})

void t.test('a part of a file is sent as such', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: '0123456789' })
  const part = await node.send('GET', path, { headers: { range: 'bytes=2-5' } })
  t.match(part, {
    status: 206,
    headers: { 'content-range': 'bytes 2-5/10', 'content-length': '4' },
  })
  t.equal(part.body.toString(), '2345')
  const beyond = await node.send('GET', path, { headers: { range: 'bytes=10-' } })
  t.match(beyond, { status: 416, headers: { 'content-range': 'bytes */10' } })
  const head = await node.send('HEAD', path, { headers: { range: 'bytes=2-5' } })
  t.match(head, { status: 200, headers: { 'content-length': '10' } }, 'HEAD tells of the whole')
  const stale = { range: 'bytes=2-5', 'if-range': 'Mon, 01 Jan 2001 00:00:00 GMT' }
  t.equal((await node.send('GET', path, { headers: stale })).status, 200, 'not of another version')
  const fresh = { ...stale, 'if-range': part.headers['last-modified'] ?? '' }
  t.equal((await node.send('GET', path, { headers: fresh })).status, 206)
})

void t.test('a file not modified since is not sent again', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'x' })
  const at = new Date('2020-05-05T05:05:05.500Z')
  utimesSync(join(node.root, path), at, at)
  const ask = async (since: string): Promise<number> =>
    (await node.send('GET', path, { headers: { 'if-modified-since': since } })).status
  t.equal(await ask('Tue, 05 May 2020 05:05:05 GMT'), 304)
  t.equal(await ask('Tue, 05 May 2020 05:05:04 GMT'), 200)
  t.equal(await ask('yesterday'), 200)
})

void t.test('a deleted file is gone, and says so the second time', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'x' })
  t.equal((await node.send('DELETE', path)).status, 204)
  t.match(await node.send('GET', path), { status: 404, code: 'not_found' })
  t.match(await node.send('HEAD', path), { status: 404 })
  t.match(await node.send('DELETE', path), { status: 404, code: 'not_found' })
})

void t.test('the root tells who this is and which devices it has', async t => {
  const node = await startNode(t, { secret: 'x'.repeat(32), devices: [2, 10, 1] })
  writeFileSync(join(node.root, 'dev3'), 'not a directory')
  mkdirSync(join(node.root, 'dev04'))
  const answer = await node.send('GET', '/')
  t.equal(answer.status, 200)
  t.match(JSON.parse(answer.body.toString()), {
    server: 'omgfiles',
    version: /^\d+\.\d+\.\d+/,
    name: 'testhost',
    devices: [1, 2, 10],
  })
  t.equal((await node.send('HEAD', '/')).status, 200)
  t.equal((await node.send('GET', '/health')).status, 200)
  t.match((await node.send('GET', '/metrics')).body.toString(), /storage_node_requests_total/)
})

void t.test('usage is a file that trackers and mogadm understand', async t => {
  const node = await startNode(t)
  for (const usage of ['/dev1/usage', '//dev1/usage']) {
    const answer = await node.send('GET', usage)
    t.equal(answer.status, 200)
    t.equal(Number(answer.headers['content-length']), answer.body.length)
    const lines = answer.body.toString().trimEnd().split('\n')
    t.same(
      lines.map(line => line.split(': ')[0]),
      ['available', 'device', 'disk', 'time', 'total', 'use', 'used'],
    )
    const value = Object.fromEntries(lines.map(line => line.split(': ')))
    t.equal(Number(value.used) + Number(value.available), Number(value.total))
    t.ok(Number(value.used) >= 1)
    t.match(value.use, /^\d+%$/)
    t.ok(value.device)
    t.equal(value.disk, join(node.root, 'dev1'))
  }
  t.match(await node.send('GET', '/dev7/usage'), { status: 404, code: 'no_such_device' })
  t.match(await node.send('PUT', '/dev1/usage', { body: 'x' }), {
    status: 405,
    headers: { allow: 'GET, HEAD, OPTIONS' },
  })
})

void t.test('a tracker can write its test files again and again', async t => {
  const node = await startNode(t)
  for (const body of ['one', 'two']) {
    t.equal((await node.send('PUT', '/dev1/test-write/test-write-12', { body })).status, 201)
    t.equal((await node.send('GET', '/dev1/test-write/test-write-12')).body.toString(), body)
  }
})

void t.test('HTTP/1.0 without Host is served, with keep-alive and a length', async t => {
  const node = await startNode(t)
  const put = `PUT ${path} HTTP/1.0\r\nConnection: keep-alive\r\nContent-length: 5\r\n\r\nhello`
  const get = `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`
  const last = `GET ${path} HTTP/1.0\r\n\r\n`
  const answers = await exchange(node.port, put + get + last)
  const heads = answers.split('HTTP/1.1 ').slice(1)
  t.equal(heads.length, 3)
  t.match(heads[0], /^201 Created\r\n[^]*connection: keep-alive/i)
  t.match(heads[1], /^200 OK\r\n[^]*connection: keep-alive[^]*\r\n\r\nhello$/i)
  t.match(heads[2], /^200 OK\r\n[^]*connection: close[^]*\r\n\r\nhello$/i)
  t.notMatch(answers, /chunked/i)
})

void t.test('OPTIONS tells the truth', async t => {
  const node = await startNode(t)
  const all = 'GET, HEAD, PUT, DELETE, COPY, OPTIONS'
  t.match(await node.send('OPTIONS', path), { status: 204, headers: { allow: all } })
  const others: [target: string, allow: string][] = [
    ['*', 'GET, HEAD, PUT, DELETE, COPY, MKCOL, OPTIONS'],
    ['/', 'GET, HEAD, OPTIONS'],
    ['/dev1/usage', 'GET, HEAD, OPTIONS'],
    ['/dev1/name', 'GET, HEAD, PUT, DELETE, MKCOL, OPTIONS'],
    ['/dev1/name/', 'MKCOL, OPTIONS'],
    ['/dev1/0/000/000/', 'OPTIONS'],
    ['/dev1/', 'OPTIONS'],
  ]
  for (const [target, allow] of others) {
    const answer = await node.send('OPTIONS', target)
    t.match(answer, { status: 204, headers: { allow } }, target)
    t.notOk(answer.headers['dav'], 'no class of WebDAV is complete')
  }
  for (const method of ['POST', 'PATCH', 'MOVE', 'PROPFIND', 'PROPPATCH', 'LOCK', 'TRACE']) {
    const answer = await node.send(method, path)
    t.match(answer, { status: 405, code: 'method_not_allowed', headers: { allow: all } }, method)
  }
})

void t.test('a directory is made for names of their own, and for replicas by PUT', async t => {
  const node = await startNode(t)
  for (const name of ['0/', '0/000/', '0/000/000/', 'test-write', fidPath(7)]) {
    const answer = await node.send('MKCOL', `/dev1/${name}`)
    t.match(answer, { status: 400, code: 'bad_request' }, `${name}: trackers stop asking`)
  }
  t.equal((await node.send('MKCOL', '/dev1/a/')).status, 201)
  t.equal((await node.send('MKCOL', '/dev1/a/b')).status, 201)
  t.equal((await node.send('PUT', '/dev1/a/b/file', { body: 'x' })).status, 201)
  for (const name of ['', 'a', 'a/b/file']) {
    const answer = await node.send('MKCOL', `/dev1/${name}`)
    t.match(answer, { status: 405, headers: { allow: /OPTIONS$/ } }, `${name}: it is there`)
    t.notMatch(answer.headers.allow, 'MKCOL')
  }
  symlinkSync(tmpdir(), join(node.root, 'dev1', 'link'))
  const refused: [target: string, status: number, code: string][] = [
    ['/dev1/nowhere/c', 409, 'no_parent'],
    ['/dev1/a/b/file/c', 409, 'no_parent'],
    ['/dev1/link/c', 403, 'not_regular'],
    ['/dev1/.c', 400, 'bad_path'],
    ['/dev9/c', 404, 'no_such_device'],
    ['/dev1/usage', 405, 'method_not_allowed'],
    ['/', 400, 'bad_path'],
  ]
  for (const [target, status, code] of refused) {
    t.match(await node.send('MKCOL', target), { status, code }, target)
  }
  const withBody = await node.send('MKCOL', '/dev1/c', {
    body: 'x',
    headers: { 'content-length': 1 },
  })
  t.match(withBody, { status: 415, code: 'unsupported_media_type' })
  t.notOk(existsSync(join(node.root, 'dev1', 'c')))
})

void t.test('nothing but regular files is reached, and nothing through a link', async t => {
  // Not in t.testdir(): the name of a socket file has at most 107 bytes.
  const scratch = mkdtempSync(join(tmpdir(), 'omg-'))
  t.teardown(() => rmSync(scratch, { recursive: true }))
  const outside = join(scratch, 'outside')
  mkdirSync(outside)
  const node = await startNode(t, { root: join(scratch, 'root') })
  writeFileSync(join(outside, 'secret'), 'secret')
  const device = join(node.root, 'dev1')
  mkdirSync(join(device, 'd'))
  symlinkSync(outside, join(device, 'link'))
  symlinkSync(join(outside, 'secret'), join(device, 'd', 'file-link'))
  execFileSync('mkfifo', [join(device, 'd', 'fifo')])
  const socket = createServer().listen(join(device, 'd', 'socket'))
  t.teardown(() => socket.close())
  for (const name of ['link/secret', 'd/file-link', 'd/fifo', 'd/socket']) {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      const answer = await node.send(method, `/dev1/${name}`, { body: method === 'PUT' ? 'x' : '' })
      t.equal(answer.status, 403, `${method} ${name}`)
      if (method !== 'HEAD') t.equal(answer.code, 'not_regular')
    }
  }
  t.match(await node.send('PUT', '/dev1/link/new', { body: 'x' }), { status: 403 })
  t.match(await node.send('GET', '/dev1/d'), { status: 403, code: 'not_regular' })
  t.match(await node.send('GET', '/dev1'), { status: 403 })
  t.match(await node.send('DELETE', '/dev1/d'), { status: 400 })
  t.match(await node.send('PUT', '/dev1/d', { body: 'x' }), { status: 400, code: 'bad_path' })
  writeFileSync(join(device, '.hidden'), 'x')
  t.match(await node.send('GET', '/dev1/.hidden'), { status: 404, code: 'not_found' })
})

void t.test('a device may itself be a link', async t => {
  const node = await startNode(t)
  const disk = mkdtempSync(join(tmpdir(), 'omg-disk-'))
  t.teardown(() => rmSync(disk, { recursive: true }))
  symlinkSync(disk, join(node.root, 'dev3'))
  const there = replicaPath({ devid: 3, fid: 1 })
  t.equal((await node.send('PUT', there, { body: 'x' })).status, 201)
  t.equal((await node.send('GET', there)).body.toString(), 'x')
})

void t.test('a file that becomes shorter while it is read breaks the connection', async t => {
  const node = await startNode(t)
  const size = 64 * 1024 * 1024
  const file = join(node.root, 'dev1', 'large')
  writeFileSync(file, '')
  truncateSync(file, size)
  const socket = connect(node.port, '127.0.0.1')
  socket.write('GET /dev1/large HTTP/1.1\r\nHost: a\r\n\r\n')
  let received = 0
  await new Promise<void>(resolve => {
    socket.once('data', chunk => {
      received += chunk.length
      socket.pause()
      truncateSync(file, 1024)
      socket.on('data', more => (received += more.length))
      socket.on('error', () => {})
      socket.on('close', () => resolve())
      socket.resume()
    })
  })
  t.ok(received < size, 'the body ended early, and so did the connection')
  t.equal((await node.send('GET', '/dev1/large')).body.length, 1024)
})

void t.test(
  'requests in one packet are answered in their order, and only while the client is there',
  async t => {
    const node = await startNode(t)
    writeFileSync(join(node.root, 'dev1', 'large'), Buffer.alloc(4 * 1024 * 1024, 'a'))
    await node.send('PUT', path, { body: 'small' })
    const get = (name: string, more = ''): string =>
      `GET ${name} HTTP/1.1\r\nHost: a\r\n${more}\r\n`
    const answers = await exchange(
      node.port,
      get('/dev1/large') + get(path) + get('/nowhere', 'Connection: close\r\n'),
    )
    t.same(
      [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(match => match[1]),
      ['200', '200', '400'],
    )
    t.match(answers, /\r\n\r\nsmallHTTP\/1\.1 400/)

    const socket = connect(node.port, '127.0.0.1')
    socket.write(get('/dev1/large').repeat(20))
    await new Promise(resolve => socket.once('readable', resolve))
    socket.destroy()
    await node.close() // waits for every request: none may hang
  },
)

void t.test('what is behind a refused request has no effect', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'x' })
  const answer = await exchange(
    node.port,
    `PUT /dev1/${fidPath(8)} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n` +
      `DELETE ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
  )
  t.equal(statusAndCode(answer), '400 bad_request')
  t.equal(answer.match(/HTTP\/1\.1 \d{3}/g)?.length, 1, 'one answer')
  t.equal((await node.send('GET', path)).status, 200)
})
