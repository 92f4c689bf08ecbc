import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { client, fetchRaw, httpPeer, ok, rawPeer, startProxy, until } from './peers.ts'

const get = (path = '/'): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

t.test('method, target and body reach the application byte for byte', async t => {
  const seen: string[] = []
  const app = await httpPeer(t, (req, res) => {
    let body = ''
    req.setEncoding('latin1').on('data', (text: string) => (body += text))
    req.on('end', () => {
      seen.push(`${req.method} ${req.url} ${req.httpVersion} ${body}`)
      res.end()
    })
  })
  const proxy = await startProxy(t, app.port)
  const target = '/a%2Fb/../c;d=%zz?q=1&r=a+b%20"<>\\^`{|}'
  await fetchRaw(t, proxy.port, { target })
  await fetchRaw(t, proxy.port, {
    method: 'PUT',
    fields: 'Content-Length: 4\r\n',
    body: '\0\xff\r\n',
  })
  const chunks = '3;ext="x"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n'
  await fetchRaw(t, proxy.port, {
    method: 'PATCH',
    fields: 'Transfer-Encoding: Chunked\r\n',
    body: chunks,
  })
  await fetchRaw(t, proxy.port, { method: 'DELETE', version: '1.0' })
  t.strictSame(seen, [
    `GET ${target} 1.1 `,
    'PUT / 1.1 \0\xff\r\n',
    'PATCH / 1.1 abc0123456789',
    'DELETE / 1.1 ',
  ])
})

t.test('status, fields and body of the application reach the client', async t => {
  const cases: [answer: string, status: number, body: string, fields: Record<string, string>][] = [
    [
      ok('body', 'Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-A: b\r\n'),
      200,
      'body',
      { 'set-cookie': 'a=1, b=2', 'x-a': 'b' },
    ],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n',
      200,
      'body',
      {},
    ],
    ['HTTP/1.0 200 Fine\r\n\r\nbody', 200, 'body', {}],
    [
      'HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n',
      302,
      '',
      { location: '/x' },
    ],
    ['HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', 304, '', { etag: '"a"' }],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', 204, '', {}],
    ['HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\nno', 404, 'no', {}],
    [
      'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 9\r\n\r\nbusy',
      503,
      'busy',
      { 'retry-after': '9' },
    ],
    [`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok('body')}`, 200, 'body', {}],
    [
      ok('body', 'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n'),
      200,
      'body',
      { date: 'Sun, 06 Nov 1994 08:49:37 GMT' },
    ],
  ]
  for (const [answer, status, body, fields] of cases) {
    const app = await rawPeer(t, ({ socket }) => {
      socket.write(answer)
      if (answer.startsWith('HTTP/1.0')) socket.end()
    })
    const proxy = await startProxy(t, app.port)
    const raw = client(t, proxy.port)
    for (let i = 0; i < 2; i++) {
      const got = await raw.send(get()).response()
      t.equal(got.status, status)
      t.equal(got.body.toString(), body)
      t.match(
        got.head,
        new RegExp(`^HTTP/1\\.1 ${/ (\d+ [^\r]*)\r\n(?!Link)/.exec(answer)?.[1]}\r\n`),
      )
      for (const [name, value] of Object.entries(fields)) t.equal(got.field(name), value)
      t.equal(got.head.match(/^date: /gim)?.length, 1)
      if (status === 204) t.notMatch(got.head, /content-length|transfer-encoding/i)
    }
    t.equal(raw.pending.length, 0)
  }
})

t.test('HEAD keeps the length that the application gives', async t => {
  const app = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n'),
  )
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  for (let i = 0; i < 2; i++) {
    const got = await raw.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n').response({ method: 'HEAD' })
    t.equal(got.field('content-length'), '77')
  }
  t.equal(app.connections(), 1)
})

t.test('an answer is passed on while the application still makes it', async t => {
  let finish: (() => void) | undefined
  const app = await httpPeer(t, (_req, res) => {
    res.flushHeaders()
    finish = () => void res.end('end')
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port).send(get())
  while (!raw.pending.includes('\r\n\r\n')) await raw.more()
  finish?.()
  t.equal((await raw.response()).body.toString(), 'end')
})

t.test('an answer cut short is visibly cut short, or a 502 when nothing was sent', async t => {
  const cases: [answer: string, pauseMs: number][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc', 20],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 20],
    ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n', 0],
  ]
  for (const [answer, pauseMs] of cases) {
    const app = await rawPeer(t, async ({ socket }) => {
      socket.write(answer)
      if (pauseMs) await sleep(pauseMs)
      socket.end()
    })
    const proxy = await startProxy(t, app.port)
    const raw = client(t, proxy.port).send(`GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    const all = (await raw.end()).toString()
    t.notMatch(all, /\r\n0\r\n\r\n$/)
    if (!all.startsWith('HTTP/1.1 502')) t.notMatch(all, /\r\n\r\n.{9}/)
  }
})

t.test('an application that gives no HTTP answer is 502, a silent one 504', async t => {
  const cases: [name: string, answer: string, end: boolean, status: number][] = [
    ['closes', '', true, 502],
    ['speaks something else', 'SSH-2.0\r\n', false, 502],
    [
      'control character',
      'HTTP/1.1 200 OK\r\nX-Reproxy-URL: http://a\x01b/\r\nContent-Length: 0\r\n\r\n',
      false,
      502,
    ],
    [
      'both framings',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      false,
      502,
    ],
    ['101 unasked', 'HTTP/1.1 101 X\r\n\r\n', false, 502],
    ['silent', '', false, 504],
  ]
  for (const [name, answer, end, status] of cases) {
    const app = await rawPeer(t, ({ socket }) => {
      socket.write(answer)
      if (end) socket.end()
    })
    const proxy = await startProxy(t, app.port, { appTimeoutMs: 200 })
    const got = await fetchRaw(t, proxy.port)
    t.equal(got.status, status, name)
    t.notMatch(got.body.toString(), /127\.0|Error:/)
  }
  const gone = await startProxy(t, 1)
  t.equal((await fetchRaw(t, gone.port)).status, 502, 'refused')
})

t.test(
  'a dead pooled connection is replaced for GET; other requests are sent once, on a fresh one',
  async t => {
    const app = await rawPeer(t, ({ socket, earlier, head }) => {
      if (earlier > 0 || head.includes('/dead')) socket.destroy()
      else socket.write(ok('body'))
    })
    const proxy = await startProxy(t, app.port)
    for (let i = 0; i < 3; i++) {
      t.equal((await fetchRaw(t, proxy.port)).status, 200)
      t.equal((await fetchRaw(t, proxy.port, { method: 'POST' })).status, 200)
    }
    const before = app.requests.length
    t.equal((await fetchRaw(t, proxy.port, { method: 'POST', target: '/dead' })).status, 502)
    t.equal(app.requests.length, before + 1)
  },
)

t.test('bytes behind an answer of the application reach nobody', async t => {
  const app = await rawPeer(t, ({ socket }) => void socket.write(ok('body') + ok('EVIL')))
  const proxy = await startProxy(t, app.port)
  for (let i = 0; i < 5; i++) t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'body')
  t.equal(app.connections(), 5)
})

t.test('bytes that are read just after an answer reach nobody either', async t => {
  // As long as what is read at one go, so that the rest comes with the next, after the next request has begun.
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: 65494\r\n\r\n'
  const body = 'x'.repeat(65_536 - head.length)
  t.equal(body.length, 65_494)
  const app = await rawPeer(t, ({ socket }) => void socket.write(head + body + ok('EVIL')))
  const proxy = await startProxy(t, app.port)
  const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  const raw = client(t, proxy.port).send(get.repeat(5))
  for (let i = 0; i < 5; i++) t.equal((await raw.response()).body.length, body.length)
})

t.test('a final answer before the body reaches the client at once', async t => {
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(413, { Connection: 'close' }).end('too much')
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  raw.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nfirst bytes')
  const got = await raw.response()
  t.equal(got.status, 413)
  t.equal(got.body.toString(), 'too much')
  await raw.end()
})

t.test('a cut upload never completes at the application', async t => {
  let complete = 0
  let broken = 0
  const app = await httpPeer(t, req => {
    req.on('error', () => broken++)
    req.on('end', () => complete++)
    req.resume()
  })
  const proxy = await startProxy(t, app.port)
  const uploads = [
    'Content-Length: 9\r\n\r\nabc',
    'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
    'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\n',
  ]
  for (const [i, upload] of uploads.entries()) {
    const raw = client(t, proxy.port).send(`POST / HTTP/1.1\r\nHost: a\r\n${upload}`)
    if (i < 2) {
      await until(() => app.sockets.size === 1)
      raw.socket.end()
    }
    await until(() => app.sockets.size === 0)
    await raw.end()
  }
  t.equal(complete, 0)
  t.ok(broken >= 2)
})

t.test(
  'websocket is passed on and bytes flow both ways, beginning right behind the 101',
  async t => {
    const app = await rawPeer(t, ({ head, socket }) => {
      if (!/upgrade: websocket/i.test(head) || !/connection: upgrade/i.test(head)) {
        socket.write(ok(head.includes('/declined') ? 'declined' : 'plain'))
        return
      }
      if (head.includes('/declined')) {
        socket.write(ok('declined'))
        return
      }
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello',
      )
      socket.removeAllListeners('data')
      socket.on('data', (chunk: Buffer) => {
        if (chunk.toString() === 'bye') socket.end()
        else socket.write(`echo ${chunk.toString()}`)
      })
    })
    const proxy = await startProxy(t, app.port)
    const handshake = (path: string, offer = 'websocket', more = ''): string =>
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X-Secret\r\nX-Secret: 1\r\nUpgrade: ${offer}\r\n${more}\r\n`

    const raw = client(t, proxy.port).send(handshake('/ws'))
    const upgraded = await raw.response()
    t.equal(upgraded.status, 101)
    t.equal(upgraded.field('upgrade'), 'websocket')
    t.equal(upgraded.field('sec-websocket-accept'), 'x')
    while (raw.pending.length < 5) await raw.more()
    t.equal(raw.pending.toString(), 'hello')
    raw.send('one')
    while (raw.pending.length < 13) await raw.more()
    t.equal(raw.pending.toString(), 'helloecho one')
    raw.send('bye')
    await raw.end()
    await until(() => app.sockets.size === 0)
    t.notMatch(app.requests[0]?.head, /x-secret/i)

    const early = client(t, proxy.port).send(`${handshake('/ws')}early`)
    await early.response()
    while (early.pending.length < 15) await early.more()
    t.equal(early.pending.toString(), 'helloecho early')
    early.socket.end()
    await until(() => app.sockets.size === 0)

    const declined = client(t, proxy.port).send(handshake('/declined'))
    t.equal((await declined.response()).body.toString(), 'declined')
    await declined.end()

    const other = client(t, proxy.port).send(handshake('/h2c', 'h2c', 'HTTP2-Settings: AAA\r\n'))
    t.equal((await other.response()).body.toString(), 'plain', 'other upgrades are not passed')
    t.notMatch(app.requests.at(-1)?.head, /upgrade|http2-settings/i)
    t.equal(
      (await other.send(get()).response()).body.toString(),
      'plain',
      'and the connection goes on',
    )

    const closing = client(t, proxy.port).send(handshake('/ws'))
    await closing.response()
    await proxy.reproxy.close()
    await closing.end()
  },
)

t.test('an upgrade that is not passed does not lose the body of its request', async t => {
  const app = await httpPeer(t, (req, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => (body += chunk.toString()))
    req.on('end', () => res.end(body))
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  raw.send(
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\nabc',
  )
  await sleep(20)
  raw.send('def')
  t.equal((await raw.response()).body.toString(), 'abcdef')
})

t.test('what stands before and behind an upgrade that is not passed is answered', async t => {
  const big = Buffer.alloc(12 * 1024 * 1024, 'x')
  const app = await httpPeer(t, (req, res) => {
    req.resume().on('end', () => res.end(req.url === '/big' ? big : req.url))
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  raw.socket.pause() // so that the large answer has to wait for the client
  const upgrade = 'Connection: upgrade\r\nUpgrade: h2c\r\n'
  raw.send('POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc')
  raw.send(`GET /big HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n${upgrade}\r\nGET /`)
  await until(() => app.sockets.size > 0)
  await sleep(50)
  raw.send('3 HTTP/1.1\r\nHost: a\r\n\r\n')
  raw.socket.resume()
  for (const wanted of ['/1', '/big', '/2', '/3']) {
    const { body } = await raw.response()
    if (wanted === '/big') t.equal(body.length, big.length)
    else t.equal(body.toString(), wanted)
  }
})

t.test('the application is used again as soon as it is back', async t => {
  const first = await rawPeer(t, ({ socket }) => void socket.write(ok('body')))
  const proxy = await startProxy(t, first.port)
  t.equal((await fetchRaw(t, proxy.port)).status, 200)
  for (const socket of first.sockets) socket.destroy()
  t.equal((await fetchRaw(t, proxy.port)).status, 200)
})
