import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { cacheForOf } from '../../../reproxy/cache/cache-for.ts'
import {
  client,
  fetchRaw,
  fileNode,
  fileProxy,
  httpPeer,
  rawPeer,
  startProxy,
  type Proxy,
  type ProxyConfig,
} from '../peers.ts'
import type { Test } from 'tap'

/** An application that counts, in front of it a proxy, behind both a node. */
async function setUp(
  t: Test,
  fields: (n: number) => Record<string, string | string[]>,
  config: ProxyConfig = {},
): Promise<{ proxy: Proxy; asked: () => number; nodeRequests: () => number }> {
  const node = await fileNode(t, 'file bytes')
  let count = 0
  const app = await httpPeer(t, (req, res) => {
    count++
    const own = req.method === 'GET' || req.method === 'HEAD' ? fields(count) : {}
    res.writeHead(200, { 'X-Reproxy-URL': node.url('/x'), ...own }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port], ...config })
  return { proxy, asked: () => count, nodeRequests: () => node.requests.length }
}

t.test('the field is read strictly', async t => {
  const read = (value: string) => cacheForOf([['X-Reproxy-Cache-For', value]])
  t.equal(read('60')?.seconds, 60)
  t.ok((read('99999999999')?.seconds ?? 0) > 60)
  t.strictSame([...(read('60; ETag  vary')?.names ?? [])], ['etag', 'vary'])
  for (const bad of ['', '0', '-1', '1e9', 'abc; Set-Cookie', '60x', '60 ETag', '60; a,b', '6 0']) {
    t.equal(read(bad), undefined, bad)
  }
})

t.test('a hit asks the node and not the application, and shows the named fields only', async t => {
  const { proxy, asked, nodeRequests } = await setUp(t, n => ({
    'X-Reproxy-Cache-For': '60; ETag X-Zero Set-Cookie Last-Modified',
    ETag: '"v1"',
    'Last-Modified': 'Sun, 06 Nov 1994 08:49:37 GMT',
    'X-Zero': '0',
    'Set-Cookie': ['a=1', 'b=2'],
    'X-Other': String(n),
  }))
  const first = await fetchRaw(t, proxy.port, { target: '/a?q=1', method: 'HEAD' })
  t.equal(first.status, 200)
  const hit = await fetchRaw(t, proxy.port, { target: '/a?q=1' })
  t.equal(hit.body.toString(), 'file bytes')
  t.equal(asked(), 1)
  t.equal(nodeRequests(), 2)
  t.equal(hit.field('x-other'), undefined)
  t.equal(hit.field('x-zero'), '0')
  t.equal(hit.head.match(/set-cookie:/gi)?.length, 2)
  t.match(hit.field('age'), /^\d+$/)
  t.ok(hit.field('date'))
  t.equal(
    (
      await fetchRaw(t, proxy.port, { target: '/a?q=1', fields: 'Range: bytes=0-3\r\n' })
    ).body.toString(),
    'file',
  )
  const same = 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n'
  const before = nodeRequests()
  t.equal((await fetchRaw(t, proxy.port, { target: '/a?q=1', fields: same })).status, 304)
  t.equal(nodeRequests(), before)
  t.equal(asked(), 1)
  t.equal(proxy.lines.findLast(line => line['msg'] === 'request')?.['cache'], 'map-hit')
  await fetchRaw(t, proxy.port, { target: '/a?q=2' })
  t.equal(asked(), 2)
  await fetchRaw(t, proxy.port, { target: '/a?q=1', fields: 'Authorization: x\r\n' })
  t.equal(asked(), 3, 'nobody else is answered with what credentials gave')
})

t.test('variants live side by side as Vary tells; "*" is never kept', async t => {
  const { proxy, asked } = await setUp(t, () => ({
    'X-Reproxy-Cache-For': '60; Vary',
    Vary: 'Accept-Language',
  }))
  const ask = (language: string) =>
    fetchRaw(t, proxy.port, { fields: `Accept-Language: ${language}\r\n` })
  for (const language of ['de', 'en', 'de', 'en']) t.equal((await ask(language)).status, 200)
  t.equal(asked(), 2)
  const star = await setUp(t, () => ({ 'X-Reproxy-Cache-For': '60', Vary: '*' }))
  for (let i = 0; i < 2; i++) await fetchRaw(t, star.proxy.port)
  t.equal(star.asked(), 2)
})

t.test(
  'an entry ends with its seconds, with a change of its URL, or when others are used more',
  async t => {
    const short = await setUp(t, () => ({ 'X-Reproxy-Cache-For': '1' }))
    for (let i = 0; i < 3; i++) await fetchRaw(t, short.proxy.port)
    t.equal(short.asked(), 1)
    await sleep(1050)
    await fetchRaw(t, short.proxy.port)
    t.equal(short.asked(), 2)

    const changed = await setUp(t, () => ({ 'X-Reproxy-Cache-For': '60' }))
    await fetchRaw(t, changed.proxy.port, { target: '/a' })
    await fetchRaw(t, changed.proxy.port, { target: '/a', method: 'DELETE' })
    await fetchRaw(t, changed.proxy.port, { target: '/a' })
    t.equal(changed.asked(), 3)

    const few = await setUp(t, () => ({ 'X-Reproxy-Cache-For': '60' }), { mapCacheEntries: 2 })
    for (const target of ['/1', '/2', '/1', '/3', '/1', '/2'])
      await fetchRaw(t, few.proxy.port, { target })
    t.equal(few.asked(), 4)
  },
)

t.test('an application drops entries by name', async t => {
  const { proxy, asked } = await setUp(t, n => ({
    'X-Reproxy-Cache-For': '60',
    ...(n === 2 ? { 'X-Reproxy-Purge': '/a?x=1 /other' } : {}),
  }))
  await fetchRaw(t, proxy.port, { target: '/a?x=1' })
  const purge = await fetchRaw(t, proxy.port, { target: '/b' })
  t.notMatch(purge.head, /x-reproxy/i)
  await fetchRaw(t, proxy.port, { target: '/a?x=1' })
  t.equal(asked(), 3)
})

t.test('when all kept locations fail the application is asked again', async t => {
  const gone = await rawPeer(
    t,
    ({ socket, earlier }) =>
      void socket.write(
        earlier === 0 && gone.requests.length === 1
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold'
          : 'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n',
      ),
  )
  const here = await fileNode(t, 'new')
  let count = 0
  const app = await httpPeer(t, (_req, res) => {
    const url = count++ === 0 ? gone.url('/x') : here.url('/y')
    res.writeHead(200, { 'X-Reproxy-URL': url, 'X-Reproxy-Cache-For': '60' }).end()
  })
  const proxy = await startProxy(t, app.port, { ports: [gone.port, here.port] })
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'old')
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'new')
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'new')
  t.equal(count, 2)
})

t.test('what is served from memory alone keeps the connection', async t => {
  const node = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, node.url('/dev1/0/000/000/0000000007.fid'), {
    ports: [node.port],
    fields: { 'X-Reproxy-Cache-For': '60' },
  })
  const raw = client(t, proxy.port)
  for (let i = 0; i < 5; i++) {
    const got = await raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n').response()
    t.match([got.status, got.body.toString()], [200, 'file bytes'])
    t.equal(got.field('connection'), 'keep-alive')
  }
  t.equal(node.requests.length, 1)
})
