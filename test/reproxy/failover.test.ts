import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { client, fetchRaw, fileNode, fileProxy, ok, rawPeer, until } from './peers.ts'

const part = (range: string, body: string): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Range: ${range}\r\nContent-Length: ${body.length}\r\n\r\n${body}`

t.test('a node that does not give the file is passed over at once', async t => {
  const good = await fileNode(t, 'file bytes')
  const cases: [name: string, answer: string, then?: 'end' | 'reset'][] = [
    ['closes before the head', '', 'end'],
    ['resets before the head', '', 'reset'],
    ['closes inside the head', 'HTTP/1.1 200 OK\r\nContent-Le', 'end'],
    ['speaks something else', 'SSH-2.0-OpenSSH_9\r\n'],
    ['speaks something else without a line end', 'RFB'],
    ['has an illegal field line', 'HTTP/1.1 200 OK\r\nno colon here\r\n'],
    ['ends lines with bare LF', 'HTTP/1.1 200 OK\nContent-Length: 10\n\nfile bytes'],
    [
      'has two lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\nfile bytes',
    ],
    ['has a malformed length', 'HTTP/1.1 200 OK\r\nContent-Length: +10\r\n\r\nfile bytes'],
    [
      'has a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['has another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nfile bytes'],
    ['sends it compressed', ok('file bytes', 'Content-Encoding: gzip\r\n')],
    ['sends a part nobody asked for', part('bytes 0-9/10', 'file bytes')],
    ['switches protocols', 'HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n'],
    ['sends interim responses only', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(5000)],
    ['ends at once', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n', 'end'],
    ['has a head without end', `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(50_000)}`],
    ['has an empty chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n'],
    ...[204, 301, 302, 304, 401, 403, 404, 416, 500, 503].map((status): [string, string] => [
      `answers ${status}`,
      `HTTP/1.1 ${status} X\r\nLocation: ${good.url()}\r\n${status === 204 ? '' : 'Content-Length: 0\r\n'}\r\n`,
    ]),
  ]
  for (const [name, answer, then] of cases) {
    const bad = await rawPeer(t, ({ socket }) => {
      if (answer !== '') socket.write(answer)
      if (then === 'end') socket.end()
      if (then === 'reset') socket.resetAndDestroy()
    })
    const proxy = await fileProxy(t, `${bad.url()} ${good.url()}`, { ports: [bad.port, good.port] })
    const startedAt = performance.now()
    const got = await fetchRaw(t, proxy.port)
    t.equal(got.status, 200, name)
    t.equal(got.body.toString(), 'file bytes', name)
    t.ok(performance.now() - startedAt < 700, `${name}: at once`)
    const alone = await fileProxy(t, bad.url(), { ports: [bad.port] })
    const failed = await fetchRaw(t, alone.port)
    t.equal(failed.status, 503, `${name}: alone`)
  }
})

t.test('a healthy first target is the only one contacted', async t => {
  const first = await fileNode(t, 'one')
  const second = await fileNode(t, 'two')
  const proxy = await fileProxy(t, `${first.url()} ${second.url()}`, {
    ports: [first.port, second.port],
  })
  for (let i = 0; i < 5; i++) t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'one')
  t.equal(second.connections(), 0)
})

t.test('a silent node is left after firstByteTimeoutMs', async t => {
  const silent = await rawPeer(t, () => {})
  const good = await fileNode(t, 'file bytes')
  const config = { ports: [silent.port, good.port], firstByteTimeoutMs: 200 }
  const proxy = await fileProxy(t, `${silent.url()} ${good.url()}`, config)
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
  const alone = await fileProxy(t, silent.url(), config)
  const startedAt = performance.now()
  t.equal((await fetchRaw(t, alone.port)).status, 503)
  const tookMs = performance.now() - startedAt
  t.ok(tookMs >= 190 && tookMs < 1200)
  await until(() => silent.sockets.size === 0)
})

t.test('a slow node is waited for, in its head and in its body', async t => {
  const node = await rawPeer(t, async ({ socket }) => {
    await sleep(150)
    for (const piece of ['HTTP/1.1 200 OK\r\n', 'Content-Length: 4\r\n\r\n', 'f', 'i', 'l', 'e']) {
      socket.write(piece)
      await sleep(60)
    }
  })
  const proxy = await fileProxy(t, node.url(), {
    ports: [node.port],
    firstByteTimeoutMs: 400,
    stallTimeoutMs: 200,
  })
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file')
  t.equal(node.requests.length, 1)
})

t.test('when all fail the answer is 503 and tells nothing', async t => {
  const bad = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\nsecret'),
  )
  const proxy = await fileProxy(t, `${bad.url('/a/path')} http://127.0.0.1:1/`, {
    ports: [bad.port, 1],
    fields: { 'Set-Cookie': 'a=b', 'Content-Type': 'image/png' },
  })
  const raw = client(t, proxy.port)
  for (const method of ['GET', 'HEAD', 'GET']) {
    const got = await raw.send(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`).response({ method })
    t.equal(got.status, 503)
    t.match(got.field('retry-after'), /^\d+$/)
    t.equal(got.field('cache-control'), 'no-store')
    t.equal(got.field('set-cookie'), undefined)
    t.notMatch(got.head + got.body.toString(), /127\.0|path|secret|x-reproxy/i)
    t.equal(got.closed, false)
  }
})

t.test('at most maxAttempts requests are made for one client', async t => {
  const bad = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'),
  )
  const good = await fileNode(t, 'file bytes')
  const list = [...Array.from({ length: 3 }, () => bad.url()), good.url()].join(' ')
  const ports = [bad.port, good.port]
  t.equal(
    (await fetchRaw(t, (await fileProxy(t, list, { ports, maxAttempts: 3 })).port)).status,
    503,
  )
  t.equal(bad.requests.length, 3)
  t.equal(
    (await fetchRaw(t, (await fileProxy(t, list, { ports, maxAttempts: 4 })).port)).status,
    200,
  )
})

t.test('the expected size is the complete length', async t => {
  const wrong = await fileNode(t, 'another file')
  const right = await fileNode(t, 'file bytes')
  const unframed = await rawPeer(
    t,
    ({ socket }) => void socket.end('HTTP/1.1 200 OK\r\n\r\nfile bytes'),
  )
  const list = `${wrong.url()} ${unframed.url()} ${right.url()}`
  const ports = [wrong.port, unframed.port, right.port]
  const ask = async (size: string, range = ''): Promise<string> => {
    const proxy = await fileProxy(t, list, { ports, fields: { 'X-Reproxy-Expected-Size': size } })
    const got = await fetchRaw(t, proxy.port, { fields: range && `Range: ${range}\r\n` })
    return `${got.status} ${got.field('content-range') ?? ''} ${got.body.toString()}`
  }
  t.equal(await ask('10'), '200  file bytes')
  t.equal(await ask('10', 'bytes=0-3'), '206 bytes 0-3/10 file')
  t.equal(await ask('10', 'bytes=-5'), '206 bytes 5-9/10 bytes')
  t.equal(await ask('10', 'bytes=10-'), '416 bytes */10 ')
  t.match(await ask('9'), /^503/)
  t.match(await ask('0'), /^503/)
  t.equal(await ask('ten'), '200  another file')
  t.equal(await ask('-1'), '200  another file')

  const lying = await rawPeer(
    t,
    ({ socket }) =>
      void socket.write('HTTP/1.1 416 X\r\nContent-Range: bytes */2\r\nContent-Length: 0\r\n\r\n'),
  )
  const proxy = await fileProxy(t, `${lying.url()} ${right.url()}`, {
    ports: [lying.port, right.port],
    fields: { 'X-Reproxy-Expected-Size': '10' },
  })
  const got = await fetchRaw(t, proxy.port, { fields: 'Range: bytes=5-\r\n' })
  t.equal(got.body.toString(), 'bytes', 'a 416 for a range that the file has is not believed')
})

t.test('a 206 that is not exactly what was asked is passed over', async t => {
  const good = await fileNode(t, 'file bytes')
  for (const answer of [
    part('bytes 0-3/10', 'file'),
    part('bytes 1-3/10', 'ile'),
    part('bytes 1-4/*', 'ile '),
    part('bytes 1-4/4', 'ile '),
    part('bytes 1-4/10', 'ile'),
    'HTTP/1.1 206 X\r\nContent-Length: 4\r\n\r\nile ',
    'HTTP/1.1 416 X\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n',
  ]) {
    const bad = await rawPeer(t, ({ socket }) => void socket.write(answer))
    const proxy = await fileProxy(t, `${bad.url()} ${good.url()}`, { ports: [bad.port, good.port] })
    const got = await fetchRaw(t, proxy.port, { fields: 'Range: bytes=1-4\r\n' })
    t.equal(got.field('content-range'), 'bytes 1-4/10', answer)
    t.equal(got.body.toString(), 'ile ')
  }
})

t.test('pooled connections found dead are replaced invisibly, many at once', async t => {
  let dying = false
  const node = await rawPeer(t, ({ socket, earlier }) => {
    if (dying && earlier > 0) socket.resetAndDestroy()
    else socket.write(ok('file bytes'))
  })
  const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
  const ask = (): Promise<string[]> =>
    Promise.all(
      Array.from({ length: 20 }, async () => (await fetchRaw(t, proxy.port)).body.toString()),
    )
  t.strictSame(new Set(await ask()), new Set(['file bytes']))
  dying = true
  t.strictSame(new Set(await ask()), new Set(['file bytes']))
  dying = false
  await ask()
  for (const socket of node.sockets) socket.destroy()
  t.strictSame(new Set(await ask()), new Set(['file bytes']))
})

t.test('bytes behind a response never become part of another, and end the connection', async t => {
  const node = await rawPeer(t, ({ socket }) => void socket.write(`${ok('file bytes')}EXTRA`))
  const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
  const raw = client(t, proxy.port)
  for (let i = 0; i < 3; i++) {
    const got = await raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n').response()
    t.equal(got.body.toString(), 'file bytes')
  }
  t.equal(raw.pending.length, 0)
  t.equal(node.connections(), 3)
})
