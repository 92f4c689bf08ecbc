import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { createStorageClient, type StorageClientOptions } from '../../client/storage.ts'
import { bodyOf, deadUrl, startPeer } from './peer.ts'

function client(t: Test, options?: StorageClientOptions) {
  const storage = createStorageClient(options)
  t.teardown(() => storage.close())
  return storage
}

const json = { 'content-type': 'application/json; charset=utf-8' }
const path = '/dev1/0/000/000/0000000007.fid'

void t.test('a put sends the bytes with their length and reads receipt and digest', async t => {
  const seen: { headers: IncomingHttpHeaders; body: Buffer }[] = []
  const peer = await startPeer(t, async (request, reply) => {
    const body = await bodyOf(request)
    seen.push({ headers: request.headers, body })
    const digest = createHash('sha256').update(body).digest('base64')
    reply.writeHead(201, { 'omg-receipt': 'r1.x', 'repr-digest': `sha-256=:${digest}:` }).end()
  })
  const storage = client(t)
  const large = Buffer.alloc(700_000, 'a')
  for (const body of [Buffer.from('hello'), Buffer.alloc(0), large]) {
    const answer = await storage.put(peer.url + path, body)
    const sha256 = createHash('sha256').update(body).digest('hex')
    t.same(answer, { receipt: 'r1.x', sha256 })
    const last = seen.at(-1)
    t.ok(last?.body.equals(body))
    t.equal(last?.headers['content-length'], String(body.length))
  }
  await storage.put(peer.url + path, Readable.from([Buffer.from('ab'), Buffer.from('c')]), {
    size: 3,
  })
  t.equal(seen.at(-1)?.headers['content-length'], '3')
  await storage.put(peer.url + path, Readable.from([Buffer.from('ab'), Buffer.from('c')]))
  t.equal(seen.at(-1)?.headers['transfer-encoding'], 'chunked')
  t.equal(seen.at(-1)?.body.toString(), 'abc')
  await storage.put(peer.url + path, Readable.from([]), { size: 0 })
  t.equal(seen.at(-1)?.headers['content-length'], '0')
  await storage.put(peer.url + path, Readable.from([]))
  t.equal(seen.at(-1)?.body.length, 0)
  const contentMd5 = createHash('md5').update('hello').digest()
  await storage.put(peer.url + path, Buffer.from('hello'), { contentMd5 })
  t.equal(seen.at(-1)?.headers['content-md5'], contentMd5.toString('base64'))
})

void t.test(
  '200, 201 and 204 of any WebDAV server are a stored file without a receipt',
  async t => {
    let status = 200
    const peer = await startPeer(t, async (request, reply) => {
      await bodyOf(request)
      reply.writeHead(status).end(status === 200 ? '<html>stored</html>' : undefined)
    })
    const storage = client(t)
    for (status of [200, 201, 204]) {
      t.same(await storage.put(peer.url + path, Buffer.from('x')), {})
    }
  },
)

void t.test('an error is told by the code in the answer, else as storage_unreachable', async t => {
  let answer: () => [number, object, string] = () => [500, {}, '']
  const peer = await startPeer(t, async (request, reply) => {
    request.resume()
    const [status, headers, body] = answer()
    reply.writeHead(status, headers as Record<string, string>).end(body)
  })
  const storage = client(t)
  const put = (): Promise<unknown> => storage.put(`${peer.url}${path}?123.secret`, Buffer.from('x'))

  answer = () => [507, json, '{"statusCode":507,"code":"insufficient_storage","message":"full"}']
  await t.rejects(put(), {
    code: 'insufficient_storage',
    message: /^127.0.0.1:\d+ answered 507: full$/,
  })
  answer = () => [503, json, '{"code":"of_another_program","message":"busy"}']
  await t.rejects(put(), {
    code: 'storage_unreachable',
    message: /^127.0.0.1:\d+ answered 503: busy$/,
  })
  answer = () => [409, json, 'no json']
  await t.rejects(put(), { code: 'storage_unreachable' })
  answer = () => [500, { 'content-type': 'text/html' }, 'x'.repeat(300_000)]
  await t.rejects(put(), { code: 'storage_unreachable', message: /^127.0.0.1:\d+ answered 500$/ })
  answer = () => [302, { location: '/elsewhere' }, '']
  await t.rejects(put(), { code: 'storage_unreachable' }, 'redirects are not followed')
  await t.rejects(storage.put('file:///etc/passwd', Buffer.from('x')), {
    code: 'storage_unreachable',
  })
  await t.rejects(storage.put('nonsense', Buffer.from('x')), { code: 'storage_unreachable' })
})

void t.test(
  'head tells the size, a missing file, and refuses an answer without a length',
  async t => {
    const peer = await startPeer(t, (request, reply) => {
      if (request.url === '/gone') return reply.writeHead(404).end()
      if (request.url === '/bad') return reply.writeHead(503).end()
      if (request.url === '/nolength')
        return reply.writeHead(200, { 'transfer-encoding': 'chunked' }).end()
      return reply.writeHead(200, { 'content-length': request.url === '/empty' ? 0 : 42 }).end()
    })
    const storage = client(t)
    t.same(await storage.head(`${peer.url}/x`), { size: 42 })
    t.same(await storage.head(`${peer.url}/empty`), { size: 0 })
    t.equal(await storage.head(`${peer.url}/gone`), undefined)
    await t.rejects(storage.head(`${peer.url}/bad`), { code: 'storage_unreachable' })
    await t.rejects(storage.head(`${peer.url}/nolength`), { code: 'storage_unreachable' })
  },
)

void t.test('get reads a file whole or a part of it, and knows the complete length', async t => {
  const bytes = Buffer.from('0123456789')
  const peer = await startPeer(t, (request, reply) => {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
    if (request.url === '/plain' || !range)
      return reply.writeHead(200, { 'content-length': 10 }).end(bytes)
    const first = Number(range[1])
    const last = Math.min(Number(range[2] || 9), 9)
    if (first > 9)
      return reply
        .writeHead(416, { 'content-range': 'bytes */10', ...json })
        .end('{"code":"range_not_satisfiable"}')
    const part = bytes.subarray(first, last + 1)
    return reply
      .writeHead(206, {
        'content-range': `bytes ${first}-${last}/10`,
        'content-length': part.length,
      })
      .end(part)
  })
  const storage = client(t)
  const read = async (path: string, options = {}) => {
    const { size, body } = await storage.get(peer.url + path, options)
    return `${size}:${await text(body)}`
  }
  t.equal(await read('/x'), '10:0123456789')
  t.equal(await read('/x', { offset: 7 }), '10:789')
  t.equal(await read('/x', { offset: 2, length: 3 }), '10:234')
  t.equal(await read('/x', { offset: 0, length: 1 }), '10:0')
  t.equal(await read('/x', { offset: 8, length: 50 }), '10:89')
  await t.rejects(read('/x', { offset: 10 }), { code: 'range_not_satisfiable' })
  await t.rejects(
    read('/plain', { offset: 3 }),
    { code: 'storage_unreachable' },
    'no part is taken for another',
  )
})

void t.test('a body that breaks off is an error, never a short file', async t => {
  const peer = await startPeer(t, (_request, reply) => {
    reply.writeHead(200, { 'content-length': 10 })
    reply.write('01234', () => reply.destroy())
  })
  const { body } = await client(t).get(peer.url + path)
  await t.rejects(buffer(body))
})

void t.test('remove tells what it found; without the device nothing is known', async t => {
  let answer: [number, object, string] = [204, {}, '']
  const peer = await startPeer(t, (_request, reply) => {
    reply.writeHead(answer[0], answer[1] as Record<string, string>).end(answer[2])
  })
  const storage = client(t)
  t.equal(await storage.remove(peer.url + path), true)
  answer = [200, {}, 'deleted']
  t.equal(await storage.remove(peer.url + path), true)
  answer = [404, {}, 'nginx says no']
  t.equal(await storage.remove(peer.url + path), false)
  answer = [404, json, '{"code":"not_found","message":"no such file"}']
  t.equal(await storage.remove(peer.url + path), false)
  answer = [404, json, '{"code":"no_such_device","message":"no dev1 here"}']
  await t.rejects(storage.remove(peer.url + path), { code: 'no_such_device' })
  answer = [500, {}, '']
  await t.rejects(storage.remove(peer.url + path), { code: 'storage_unreachable' })
})

void t.test('text reads a small answer and cuts a long one', async t => {
  const peer = await startPeer(t, (request, reply) => {
    if (request.url === '/gone') return reply.writeHead(404).end()
    return reply.end(request.url === '/long' ? 'x'.repeat(1_000_000) : 'used: 1\n')
  })
  const storage = client(t)
  t.equal(await storage.text(`${peer.url}/dev1/usage`), 'used: 1\n')
  t.equal((await storage.text(`${peer.url}/long`)).length, 65_536)
  await t.rejects(storage.text(`${peer.url}/gone`), { code: 'not_found' })
})

void t.test('a node that is not there, says nothing or stops is given up in time', async t => {
  const peer = await startPeer(t, (request, reply) => {
    if (request.method !== 'GET') return
    reply.writeHead(200, { 'content-length': 10 }).write('01234')
  })
  const storage = client(t, { firstByteMs: 100, gapMs: 100 })
  await t.rejects(storage.head((await deadUrl()) + path), { code: 'storage_unreachable' })
  await t.rejects(storage.head(peer.url + path), { code: 'storage_unreachable' })
  await t.rejects(storage.put(peer.url + path, Buffer.from('x')), { code: 'storage_unreachable' })
  const { body } = await storage.get(peer.url + path)
  await t.rejects(buffer(body))

  async function* endless() {
    for (;;) yield Buffer.alloc(65_536)
  }
  await t.rejects(
    storage.put(peer.url + path, endless()),
    { code: 'storage_unreachable' },
    'a node that does not take the body',
  )
  const known = Readable.from([Buffer.from('x')])
  await t.rejects(
    storage.put(peer.url + path, known, { size: 1 }),
    { code: 'storage_unreachable', message: /nothing for 100 ms/ },
    'a node that has the body and does not answer',
  )
})

void t.test('a source that is slow costs the node nothing', async t => {
  const peer = await startPeer(t, async (request, reply) => {
    reply.writeHead(201).end(await bodyOf(request))
  })
  async function* slow() {
    for (const text of ['a', 'b', 'c']) {
      await new Promise(resolve => setTimeout(resolve, 150))
      yield Buffer.from(text)
    }
  }
  await t.resolves(client(t, { firstByteMs: 50, gapMs: 50 }).put(peer.url + path, slow()))
})

void t.test(
  'an aborted request rejects with the reason, a broken source with its own error',
  async t => {
    const peer = await startPeer(t, request => request.resume())
    const storage = client(t)
    const reason = new Error('changed my mind')
    const abort = new AbortController()
    const { signal } = abort
    const head = storage.head(peer.url + path, { signal })
    const put = storage.put(peer.url + path, Readable.from([Buffer.from('x')]), { signal })
    peer.server.once('request', () => abort.abort(reason))
    await t.rejects(head, reason)
    await t.rejects(put, reason)
    await t.rejects(storage.text(peer.url + path, { signal }), reason)

    async function* broken() {
      yield Buffer.from('x')
      throw reason
    }
    await t.rejects(storage.put(peer.url + path, broken()), reason)

    const source = Readable.from([Buffer.from('x')])
    await t.rejects(storage.put((await deadUrl()) + path, source))
    t.ok(source.destroyed, 'nothing stays open')
  },
)

void t.test('a connection that the server closed while idle costs no request', async t => {
  const peer = await startPeer(t, (_request, reply) => reply.end('ok'))
  const storage = client(t)
  for (let i = 0; i < 5; i++) {
    t.equal(await storage.text(`${peer.url}/usage`), 'ok')
    peer.server.closeIdleConnections()
  }
})
