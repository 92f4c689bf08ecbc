import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { fetchRaw, fileNode, httpPeer, startProxy, until } from '../peers.ts'

t.test('requests are spread, and a server that is away is left out until it is back', async t => {
  const one = await httpPeer(t, (_req, res) => res.end('one'))
  const spare = createServer((_req, res) => res.end('two')).listen(0, '127.0.0.1')
  await once(spare, 'listening')
  const { port } = spare.address() as AddressInfo
  const apps = [`127.0.0.1:${one.port}`, `127.0.0.1:${port}`]
  const proxy = await startProxy(t, one.port, { apps })
  const ask = async (): Promise<string> => (await fetchRaw(t, proxy.port)).body.toString()
  const seen = new Set<string>()
  for (let i = 0; i < 6; i++) seen.add(await ask())
  t.equal(seen.size, 2)
  spare.closeAllConnections()
  spare.close()
  await once(spare, 'close')
  for (let i = 0; i < 6; i++) t.equal(await ask(), 'one')
  for (let i = 0; i < 4; i++) {
    const post = await fetchRaw(t, proxy.port, {
      method: 'POST',
      fields: 'Content-Length: 2\r\n',
      body: 'ab',
    })
    t.equal(post.body.toString(), 'one', 'what was never sent may go to another server')
  }
  const again = await new Promise<ReturnType<typeof createServer>>(resolve => {
    const server = createServer((_req, res) => res.end('two')).listen(port, '127.0.0.1', () =>
      resolve(server),
    )
  })
  t.teardown(() => {
    again.closeAllConnections()
    again.close()
  })
  let back = false
  const startedAt = performance.now()
  while (!back && performance.now() - startedAt < 3000) back = (await ask()) === 'two'
  t.ok(back, 'it is used again within 3 s')
})

t.test('more requests than a server may have wait their turn', async t => {
  let now = 0
  let most = 0
  const app = await httpPeer(t, (_req, res) => {
    most = Math.max(most, ++now)
    setTimeout(() => {
      now--
      res.end('done')
    }, 20)
  })
  const proxy = await startProxy(t, app.port, { maxPerApp: 2, appTimeoutMs: 5000 })
  const got = await Promise.all(Array.from({ length: 8 }, () => fetchRaw(t, proxy.port)))
  t.ok(got.every(({ status }) => status === 200))
  t.equal(most, 2)
  const slow = await httpPeer(t, () => {})
  const busy = await startProxy(t, slow.port, { maxPerApp: 1, appTimeoutMs: 200 })
  const both = await Promise.all([fetchRaw(t, busy.port), fetchRaw(t, busy.port)])
  t.ok(both.every(({ status }) => status === 503 || status === 504))
  const shed = both.filter(({ status }) => status === 503).length
  const figures = await busy.reproxy.metrics.registry.metrics()
  t.match(figures, `reproxy_shed_total{reason="app-queue"} ${shed}\n`)
})

t.test('a service answers for its hosts, and where the application hands over to it', async t => {
  const node = await fileNode(t, 'file bytes')
  const app = await httpPeer(t, (req, res) => {
    const name = req.url === '/none' ? 'nowhere' : 'other'
    if (req.url === '/') res.end('app')
    else res.writeHead(200, { 'X-Reproxy-Service': name, 'Set-Cookie': 'a=b' }).end('hidden')
  })
  const other = await httpPeer(t, (req, res) => {
    if (req.url === '/file') res.writeHead(200, { 'X-Reproxy-URL': node.url('/x') }).end()
    else if (req.url === '/loop') res.writeHead(200, { 'X-Reproxy-Service': 'other' }).end()
    else res.end(`service ${req.method}`)
  })
  const proxy = await startProxy(t, app.port, {
    ports: [node.port],
    services: { other: [`127.0.0.1:${other.port}`] },
    virtualHosts: { 'static.example': 'other', '*.sub.example': 'other' },
  })
  const ask = async (host: string, target = '/', method = 'GET', body?: string) => {
    const fields = body === undefined ? '' : `Content-Length: ${body.length}\r\n`
    const got = await fetchRaw(t, proxy.port, {
      target: `http://${host}${target}`,
      method,
      fields,
      ...(body === undefined ? {} : { body }),
    })
    t.notMatch(got.head, /x-reproxy|a=b/i)
    return `${got.status} ${got.body.toString()}`
  }
  t.equal(await ask('Static.Example:80'), '200 service GET')
  t.equal(await ask('a.b.sub.example'), '200 service GET')
  t.equal(await ask('sub.example'), '200 app')
  t.equal(await ask('site.example', '/x'), '200 service GET')
  t.equal(await ask('site.example', '/file'), '200 file bytes')
  t.match(await ask('site.example', '/none'), /^404/)
  t.match(await ask('site.example', '/loop'), /^502/)
  t.match(await ask('site.example', '/x', 'POST'), /^502/)
  t.match(await ask('site.example', '/x', 'GET', 'abc'), /^502/, 'the body is gone')
  t.equal(await ask('site.example', '/x', 'GET', ''), '200 service GET')
  await until(() => proxy.lines.some(line => line['reproxy'] === 'service'))
})
