/** What protects clients from sick nodes, nodes from clients, and everybody from too much work. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Breaker } from '../../../reproxy/nodes/breaker.ts'
import {
  client,
  fetchRaw,
  fileNode,
  fileProxy,
  httpPeer,
  ok,
  rawPeer,
  startProxy,
  until,
} from '../peers.ts'

const lineOf = (lines: readonly Record<string, unknown>[]): Record<string, unknown> =>
  lines.findLast(line => line['msg'] === 'request') ?? {}

t.test('beside a slow node the next is asked, and the first good answer wins', async t => {
  const slow = await rawPeer(t, async ({ socket }) => {
    await sleep(3000)
    socket.write(ok('slow bytes'))
  })
  const quick = await fileNode(t, 'file bytes')
  const ports = [slow.port, quick.port]
  const proxy = await fileProxy(t, `${slow.url()} ${quick.url()}`, { ports, hedgeDelayMs: 100 })
  const startedAt = performance.now()
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
  const tookMs = performance.now() - startedAt
  t.ok(tookMs >= 95 && tookMs < 1500, `${tookMs} ms`)
  await until(() => slow.sockets.size === 0)
  await until(() => lineOf(proxy.lines)['hedged'] === true)
  t.equal(lineOf(proxy.lines)['node'], `127.0.0.1:${quick.port}`)

  // The loser is no failure: it comes first again.
  t.equal((await fetchRaw(t, proxy.port)).status, 200)
  t.equal(slow.requests.length, 2)
  const off = await fileProxy(t, `${quick.url()} ${slow.url()}`, { ports, hedgeDelayMs: 50 })
  t.equal((await fetchRaw(t, off.port)).status, 200)
  t.equal(slow.requests.length, 2, 'a fast first target causes no second request')
})

t.test('a hedge that fails does not end the first attempt, and 0 means none', async t => {
  const slow = await rawPeer(t, async ({ socket }) => {
    await sleep(400)
    socket.write(ok('file bytes'))
  })
  const bad = await rawPeer(t, ({ socket }) => void socket.destroy())
  const ports = [slow.port, bad.port]
  const list = `${slow.url()} ${bad.url()}`
  const proxy = await fileProxy(t, list, { ports, hedgeDelayMs: 50 })
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
  t.equal(bad.requests.length, 1)
  const off = await fileProxy(t, list, { ports, hedgeDelayMs: 0 })
  t.equal((await fetchRaw(t, off.port)).body.toString(), 'file bytes')
  t.equal(bad.requests.length, 1)
})

t.test('a node that keeps failing is asked last until its time is over', async t => {
  let broken = true
  const first = await rawPeer(t, ({ socket }) => {
    if (broken) socket.destroy()
    else socket.write(ok('from first'))
  })
  const second = await fileNode(t, 'from second')
  const ports = [first.port, second.port]
  const proxy = await fileProxy(t, `${first.url()} ${second.url()}`, {
    ports,
    breakerFailures: 3,
    breakerOpenMs: 300,
  })
  const ask = async (): Promise<string> => (await fetchRaw(t, proxy.port)).body.toString()
  for (let i = 0; i < 6; i++) t.equal(await ask(), 'from second')
  t.equal(first.requests.length, 3)
  broken = false
  await sleep(320)
  t.equal(await ask(), 'from first')
  t.equal(await ask(), 'from first')

  broken = true
  for (let i = 0; i < 3; i++) await ask()
  const alone = await fileProxy(t, first.url(), {
    ports,
    breakerFailures: 1,
    breakerOpenMs: 60_000,
  })
  t.equal((await fetchRaw(t, alone.port)).status, 503)
  broken = false
  t.equal((await fetchRaw(t, alone.port)).status, 200, 'it still serves as the last resort')
})

t.test('a breaker that is half open lets one request try', async t => {
  const breaker = new Breaker({ failures: 2, openMs: 20 })
  breaker.failed()
  t.equal(breaker.state, 'closed')
  breaker.failed()
  t.equal(breaker.state, 'open')
  t.equal(breaker.ready, false)
  await until(() => breaker.state === 'half-open')
  t.equal(breaker.ready, true)
  breaker.begin()
  t.equal(breaker.ready, false)
  breaker.gaveUp()
  t.equal(breaker.ready, true)
  breaker.begin()
  breaker.failed()
  t.equal(breaker.state, 'open')
  breaker.succeeded()
  t.equal(breaker.state, 'closed')
})

t.test('404 and a wrong size are no fault of the node', async t => {
  const missing = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'),
  )
  const good = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, `${missing.url()} ${good.url()}`, {
    ports: [missing.port, good.port],
    breakerFailures: 1,
  })
  for (let i = 0; i < 4; i++) t.equal((await fetchRaw(t, proxy.port)).status, 200)
  t.equal(missing.requests.length, 4)
})

t.test(
  'at most maxPerNode requests are in progress at a node; the others wait their turn',
  async t => {
    let now = 0
    let most = 0
    const node = await rawPeer(t, async ({ socket }) => {
      most = Math.max(most, ++now)
      await sleep(30)
      now--
      socket.write(ok('file bytes'))
    })
    const proxy = await fileProxy(t, node.url(), { ports: [node.port], maxPerNode: 2 })
    const got = await Promise.all(Array.from({ length: 10 }, () => fetchRaw(t, proxy.port)))
    t.strictSame(new Set(got.map(({ status }) => status)), new Set([200]))
    t.equal(most, 2)
  },
)

t.test('retries have a budget', async t => {
  const bad = await rawPeer(t, ({ socket }) => void socket.destroy())
  const good = await fileNode(t, 'file bytes')
  const ports = [bad.port, good.port]
  const list = `${bad.url()} ${good.url()}`
  const none = await fileProxy(t, list, { ports, retryBudgetMin: 0, retryBudgetRatio: 0 })
  t.equal((await fetchRaw(t, none.port)).status, 503)
  t.equal(good.requests.length, 0)
  const one = await fileProxy(t, list, { ports, retryBudgetMin: 1, retryBudgetRatio: 0 })
  for (let i = 0; i < 3; i++) t.equal((await fetchRaw(t, one.port)).status, 200, 'it is given back')
})

t.test('requests beyond maxInflight are turned away at once, the others go on', async t => {
  let finish = (): void => {}
  const app = await httpPeer(t, (_req, res) => {
    finish = () => res.end('done')
  })
  const proxy = await startProxy(t, app.port, { maxInflight: 1 })
  const first = client(t, proxy.port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => app.sockets.size === 1)
  const shed = await fetchRaw(t, proxy.port)
  t.equal(shed.status, 503)
  t.match(shed.field('retry-after'), /^\d+$/)
  finish()
  t.equal((await first.response()).body.toString(), 'done')
})

t.test('a replica that is not what it should be is reported once', async t => {
  const reports: unknown[] = []
  const wrong = await fileNode(t, 'another file')
  const good = await fileNode(t, 'file bytes')
  const tracker = await httpPeer(t, (req, res) => {
    if (req.method === 'POST') {
      t.equal(req.url, '/v1/reports/replica')
      t.equal(req.headers.authorization, 'Bearer the-token')
      let text = ''
      req.on('data', (chunk: Buffer) => (text += chunk.toString()))
      req.on('end', () => {
        reports.push(JSON.parse(text))
        res.writeHead(204).end()
      })
    } else res.end('{"targets":[]}')
  })
  const path = '/dev7/0/000/000/0000000123.fid'
  const proxy = await fileProxy(t, `${wrong.url(path)} ${good.url(path)}`, {
    ports: [wrong.port, good.port],
    fields: { 'X-Reproxy-Expected-Size': '10' },
    tracker: [`http://127.0.0.1:${tracker.port}`],
    trackerToken: 'the-token',
    bodyCacheBytes: 0,
  })
  for (let i = 0; i < 3; i++) t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
  await until(() => reports.length > 0)
  t.strictSame(reports, [{ devid: 7, fid: 123, problem: 'size' }])
})
