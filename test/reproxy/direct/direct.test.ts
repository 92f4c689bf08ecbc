import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { signPath } from '../../../reproxy/direct/signature.ts'
import { fetchRaw, fileNode, httpPeer, startProxy } from '../peers.ts'

/** A tracker that answers lines; what it was asked is kept. */
async function lineTracker(
  t: Test,
  answer: (line: string) => string | undefined,
): Promise<{ address: string; lines: string[] }> {
  const lines: string[] = []
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString('latin1').split('\r\n').slice(0, -1)) {
        lines.push(line)
        const said = answer(line)
        if (said !== undefined) socket.write(`${said}\r\n`)
      }
    })
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => void server.close())
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, lines }
}

const fid = '/dev1/0/000/000/0000000042.fid'

t.test('files are served straight from the trackers', async t => {
  const node = await fileNode(t, 'file bytes', 'ETag: "node"\r\nContent-Type: evil/type\r\n')
  const app = await httpPeer(t, (_req, res) => res.end('app'))
  const silent = await lineTracker(t, () => undefined)
  const tracker = await lineTracker(t, line => {
    if (line.includes('key=empty')) return 'OK paths=0'
    if (!line.includes('key=a%2Fb')) return 'ERR unknown_key unknown_key'
    return `OK paths=1&path1=${encodeURIComponent(node.url(fid))}`
  })
  const proxy = await startProxy(t, app.port, {
    ports: [node.port],
    firstByteTimeoutMs: 200,
    direct: {
      prefix: '/files',
      trackers: ['127.0.0.1:1', silent.address, tracker.address],
      publicDomains: [],
      cacheControl: { '*': 'public, max-age=60' },
    },
  })
  const ask = (target: string, fields = '', method = 'GET') =>
    fetchRaw(t, proxy.port, { target, fields, method })
  t.equal((await ask('/other')).body.toString(), 'app')
  const got = await ask('/files/dom/a/b.jpg?x=y')
  t.equal(`${got.status} ${got.body.toString()}`, '200 file bytes')
  t.equal(got.field('content-type'), 'image/jpeg')
  t.equal(got.field('x-content-type-options'), 'nosniff')
  t.equal(got.field('cache-control'), 'public, max-age=60')
  const etag = got.field('etag') ?? ''
  t.match(etag, /^"[^"]*42"$/)
  t.equal((await ask('/files/dom/a/b', `If-None-Match: ${etag}\r\n`)).status, 304)
  const part = await ask('/files/dom/a/b', `Range: bytes=0-3\r\nIf-Range: ${etag}\r\n`)
  t.equal(`${part.status} ${part.body.toString()}`, '206 file')
  t.equal((await ask('/files/dom/a/b')).field('content-type'), 'application/octet-stream')
  for (const bad of ['/files/dom/none', '/files/dom/', '/files/dom', '/files/', '/files/d/%zz']) {
    t.equal((await ask(bad)).status, 404, bad)
  }
  t.equal((await ask('/files/dom/empty')).status, 503)
  const post = await ask('/files/dom/a/b', 'Content-Length: 0\r\n', 'POST')
  t.equal(`${post.status} ${post.field('allow')}`, '405 GET, HEAD')
  await ask('/files/dom%26devid=1/a%0d%0ashutdown%26x=1')
  t.match(tracker.lines.at(-1), /^get_paths domain=dom%26devid%3D1&key=a%0D%0Ashutdown%26x%3D1&/)

  const none = await startProxy(t, app.port, {
    firstByteTimeoutMs: 200,
    direct: { prefix: '/f', trackers: [silent.address], publicDomains: [], cacheControl: {} },
  })
  t.equal((await fetchRaw(t, none.port, { target: '/f/d/k' })).status, 503)
})

t.test('a tracker that has fallen silent is waited for once', async t => {
  let silent = false
  const asked: string[] = []
  const tracker = await lineTracker(t, line => {
    asked.push(line)
    return silent ? undefined : 'ERR unknown_key no'
  })
  const proxy = await startProxy(t, 1, {
    apps: [],
    firstByteTimeoutMs: 300,
    direct: { prefix: '/f', trackers: [tracker.address], publicDomains: [], cacheControl: {} },
  })
  t.equal((await fetchRaw(t, proxy.port, { target: '/f/d/k' })).status, 404)
  silent = true
  t.equal((await fetchRaw(t, proxy.port, { target: '/f/d/k' })).status, 503)
  t.equal(asked.length, 2)
})

t.test('with a secret, only signed paths are looked up', async t => {
  const node = await fileNode(t, 'file bytes')
  const tracker = await lineTracker(
    t,
    () => `OK paths=1&path1=${encodeURIComponent(node.url(fid))}`,
  )
  const proxy = await startProxy(t, 1, {
    apps: [],
    ports: [node.port],
    direct: {
      prefix: '/files/',
      trackers: [tracker.address],
      signSecret: 'the secret',
      publicDomains: ['open'],
      cacheControl: {},
    },
  })
  const ask = async (path: string, query: string): Promise<number> =>
    (await fetchRaw(t, proxy.port, { target: `${path}?${query}` })).status
  const path = '/files/dom/a%20b'
  const later = Math.floor(Date.now() / 1000) + 60
  const good = signPath('the secret', path, later)
  for (const query of [
    '',
    `e=${later}`,
    `s=${good}`,
    `e=${later + 1}&s=${good}`,
    `e=${later}&s=${good.toUpperCase()}`,
    `e=${later}&s=${good}&s=${good}`,
    `e=1&s=${signPath('the secret', path, 1)}`,
    `e=${later}&s=${signPath('another', path, later)}`,
  ]) {
    t.equal(await ask(path, query), 403, query)
  }
  t.equal(await ask('/files/dom/a b'.replace(' ', '+'), `e=${later}&s=${good}`), 403)
  t.equal(tracker.lines.length, 0)
  t.equal(await ask(path, `e=${later}&s=${good}`), 200)
  t.match(tracker.lines[0], /key=a%20b/)
  t.equal(await ask('/files/open/x', ''), 200)
  t.equal((await fetchRaw(t, proxy.port, { target: '/elsewhere' })).status, 404)
})
