import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { S3Fifo } from '../../../reproxy/cache/s3-fifo.ts'
import { client, fetchRaw, fileNode, httpPeer, ok, rawPeer, startProxy, until } from '../peers.ts'

const path = '/dev1/0/000/000/0000000042.fid'

t.test('a scan does not wash the hot entries out, and the bound holds', async t => {
  let evicted = 0
  const cache = new S3Fifo<number>(1000, () => evicted++)
  for (let i = 0; i < 10; i++) cache.set(`hot ${i}`, i, 50)
  for (let round = 0; round < 3; round++) for (let i = 0; i < 10; i++) cache.get(`hot ${i}`)
  for (let i = 0; i < 10_000; i++) {
    cache.set(`scan ${i}`, i, 50)
    if (i % 50 === 0) for (let hot = 0; hot < 10; hot++) cache.get(`hot ${hot}`)
    if (cache.bytes > 1000) t.fail('over the bound')
  }
  for (let i = 0; i < 10; i++) t.equal(cache.get(`hot ${i}`), i)
  t.ok(evicted > 9000)
  cache.set('large', 1, 2000)
  t.equal(cache.get('large'), undefined)
  cache.resize(100)
  t.ok(cache.bytes <= 100)
})

t.test('a small content is fetched once, under any of its URLs, with fresh fields', async t => {
  const a = await fileNode(t, 'file bytes')
  const b = await fileNode(t, 'file bytes')
  let count = 0
  const app = await httpPeer(t, (req, res) => {
    count++
    const urls = [`${a.url(path)}?sig=${count}`, b.url(path)]
    if (count % 2 === 0) urls.reverse()
    const size = req.url === '/wrong' ? '11' : '10'
    res
      .writeHead(200, {
        'X-Reproxy-URL': urls.join(' '),
        'X-Reproxy-Expected-Size': size,
        ETag: '"v"',
        'X-Count': String(count),
      })
      .end()
  })
  const proxy = await startProxy(t, app.port, { ports: [a.port, b.port] })
  const asked = (): number => a.requests.length + b.requests.length
  for (let i = 1; i <= 6; i++) {
    const got = await fetchRaw(t, proxy.port)
    t.equal(got.body.toString(), 'file bytes')
    t.equal(got.field('x-count'), String(i))
    t.equal(got.field('content-length'), '10')
  }
  t.equal(asked(), 1)
  const ask = (fields: string, method = 'GET') => fetchRaw(t, proxy.port, { fields, method })
  t.equal((await ask('', 'HEAD')).field('content-length'), '10')
  const part = await ask('Range: bytes=5-\r\n')
  t.equal(
    `${part.status} ${part.field('content-range')} ${part.body.toString()}`,
    '206 bytes 5-9/10 bytes',
  )
  t.equal((await ask('Range: bytes=10-\r\n')).field('content-range'), 'bytes */10')
  t.equal((await ask('Range: bytes=0-1\r\nIf-Range: "old"\r\n')).status, 200)
  t.equal((await ask('If-None-Match: "v"\r\n')).status, 304)
  const several = await ask('Range: bytes=0-1,-2\r\n')
  t.match(several.field('content-type'), /^multipart\/byteranges; boundary=/)
  t.equal(asked(), 1)
  t.equal((await fetchRaw(t, proxy.port, { target: '/wrong' })).status, 503)
  t.ok(asked() > 1, 'another length is fetched anew')
})

t.test('other paths, parts, and bodies cut short are never kept', async t => {
  const node = await fileNode(t, 'file bytes')
  let target = '/plain/path'
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(200, { 'X-Reproxy-URL': node.url(target) }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port] })
  for (let i = 0; i < 3; i++) await fetchRaw(t, proxy.port)
  t.equal(node.requests.length, 3)
  target = path
  for (let i = 0; i < 2; i++) await fetchRaw(t, proxy.port, { fields: 'Range: bytes=0-3\r\n' })
  t.equal(node.requests.length, 5)

  let cut = true
  const cutting = await rawPeer(t, ({ socket }) => {
    if (cut) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfile')
    else socket.write(ok('file bytes'))
  })
  const second = await httpPeer(t, (_req, res) => {
    res.writeHead(200, { 'X-Reproxy-URL': cutting.url(path) }).end()
  })
  const other = await startProxy(t, second.port, { ports: [cutting.port] })
  t.equal((await fetchRaw(t, other.port)).status, 503)
  cut = false
  t.equal((await fetchRaw(t, other.port)).body.toString(), 'file bytes')
})

t.test('a large file of unknown size is streamed from the one request that was made', async t => {
  const file = Buffer.alloc(400_000, 'omg')
  const node = await fileNode(t, file)
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(200, { 'X-Reproxy-URL': node.url(path) }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port] })
  for (let i = 1; i <= 2; i++) {
    t.ok((await fetchRaw(t, proxy.port)).body.equals(file))
    t.equal(node.requests.length, i)
  }
})

t.test('misses at the same time share one fetch; one that leaves harms nobody', async t => {
  let release = (): void => {}
  const waiting = new Promise<void>(resolve => {
    release = resolve
  })
  const node = await rawPeer(t, async ({ socket }) => {
    await waiting
    socket.write(ok('file bytes'))
  })
  let count = 0
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(200, { 'X-Reproxy-URL': node.url(path), 'X-Count': String(++count) }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port], hedgeDelayMs: 0 })
  const first = client(t, proxy.port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => node.requests.length === 1)
  const others = Array.from({ length: 10 }, () => fetchRaw(t, proxy.port))
  await until(() => count === 11)
  await sleep(50)
  first.socket.destroy()
  await sleep(50)
  release()
  const got = await Promise.all(others)
  t.strictSame(new Set(got.map(({ body }) => body.toString())), new Set(['file bytes']))
  t.equal(new Set(got.map(response => response.field('x-count'))).size, 10)
  t.equal(node.requests.length, 1)
})

t.test('when all that wait have left, the fetch ends, and the next begins another', async t => {
  let answer = false
  const node = await rawPeer(t, ({ socket }) => {
    if (answer) socket.write(ok('file bytes'))
  })
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(200, { 'X-Reproxy-URL': node.url(path) }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port] })
  const only = client(t, proxy.port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => node.requests.length === 1)
  only.socket.destroy()
  await until(() => node.sockets.size === 0)
  answer = true
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
})
