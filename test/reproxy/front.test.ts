import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { flood } from '../helpers/flood.ts'
import { client, fetchRaw, httpPeer, startProxy, until, type Proxy } from './peers.ts'

const host = 'Host: a\r\n'

/** A proxy before an application that tells what it was asked. */
async function echo(t: Test, config = {}): Promise<Proxy & { asked: string[] }> {
  const asked: string[] = []
  const app = await httpPeer(t, (req, res) => {
    asked.push(`${req.method} ${req.url}`)
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => res.end(`${req.method} ${req.url} ${Buffer.concat(chunks).toString()}`))
  })
  return { ...(await startProxy(t, app.port, config)), asked }
}

t.test(
  'a request that two servers could read differently is refused and not passed on',
  async t => {
    const proxy = await echo(t)
    const chunked = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`
    const cases: [name: string, request: string, status?: number][] = [
      [
        'both lengths',
        `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ],
      [
        'two lengths',
        `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
      ],
      ['a list of lengths', `POST / HTTP/1.1\r\n${host}Content-Length: 3, 3\r\n\r\nabc`],
      ['a signed length', `POST / HTTP/1.1\r\n${host}Content-Length: +3\r\n\r\nabc`],
      ['an empty length', `POST / HTTP/1.1\r\n${host}Content-Length:\r\n\r\nabc`],
      ['a hexadecimal length', `POST / HTTP/1.1\r\n${host}Content-Length: 0x3\r\n\r\nabc`],
      [
        'an absurd length',
        `POST / HTTP/1.1\r\n${host}Content-Length: 99999999999999999\r\n\r\nabc`,
      ],
      [
        'another coding',
        `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
      ],
      [
        'a coding twice',
        `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      ],
      [
        'a coding like chunked',
        `POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
      ],
      ['a coding in 1.0', `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      ['a blank before the colon', `GET / HTTP/1.1\r\n${host}A : b\r\n\r\n`],
      ['a folded line', `GET / HTTP/1.1\r\n${host}A: b\r\n c\r\n\r\n`],
      ['a blank before the first field', `GET / HTTP/1.1\r\n ${host}\r\n`],
      ['bare LF', 'GET / HTTP/1.1\nHost: a\n\n'],
      ['bare LF after a field', `GET / HTTP/1.1\r\n${host}A: b\nB: c\r\n\r\n`],
      ['bare CR in a value', `GET / HTTP/1.1\r\n${host}A: b\rc\r\n\r\n`],
      ['NUL in a value', `GET / HTTP/1.1\r\n${host}A: b\0c\r\n\r\n`],
      ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
      ['two Hosts', `GET / HTTP/1.1\r\n${host}${host}\r\n`],
      ['an invalid Host', 'GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n'],
      ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
      ['a blank in the target', `GET /a b HTTP/1.1\r\n${host}\r\n`],
      ['a control character in the target', `GET /\x7f HTTP/1.1\r\n${host}\r\n`],
      ['a byte beyond ASCII in the target', `GET /\xe9 HTTP/1.1\r\n${host}\r\n`],
      ['a fragment in the target', `GET /a#b HTTP/1.1\r\n${host}\r\n`],
      ['a relative target', `GET foo HTTP/1.1\r\n${host}\r\n`],
      ['an asterisk for GET', `GET * HTTP/1.1\r\n${host}\r\n`],
      ['another scheme', `GET ftp://a/ HTTP/1.1\r\n${host}\r\n`],
      ['a user in the target', `GET http://u@a/ HTTP/1.1\r\n${host}\r\n`],
      ['a line without colon', `GET / HTTP/1.1\r\n${host}A\r\n\r\n`],
      ['an empty name', `GET / HTTP/1.1\r\n${host}: b\r\n\r\n`],
      ['no version', 'GET /\r\n\r\n'],
      ['HTTP/2.0', `GET / HTTP/2.0\r\n${host}\r\n`, 505],
      ['HTTP/3.7', `GET / HTTP/3.7\r\n${host}\r\n`, 505],
      ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['a chunk size that is not hex', `${chunked}g\r\nabc\r\n0\r\n\r\n`],
      ['a negative chunk size', `${chunked}-3\r\nabc\r\n0\r\n\r\n`],
      ['a chunk size before bare LF', `${chunked}3\nabc\r\n0\r\n\r\n`],
      ['a blank after a chunk size', `${chunked}3 \r\nabc\r\n0\r\n\r\n`],
      ['a chunk longer than its size', `${chunked}3\r\nabcd\r\n0\r\n\r\n`],
      ['200 lines and more', `GET / HTTP/1.1\r\n${host}${'A: b\r\n'.repeat(200)}\r\n`, 431],
      ['a head too long', `GET / HTTP/1.1\r\n${host}A: ${'b'.repeat(33_000)}\r\n\r\n`, 431],
      ['a head far too long', `GET / HTTP/1.1\r\n${host}A: ${'b'.repeat(90_000)}\r\n\r\n`, 431],
      ['a target too long', `GET /${'a'.repeat(8192)} HTTP/1.1\r\n${host}\r\n`, 414],
      ['a target far too long', `GET /${'a'.repeat(50_000)} HTTP/1.1\r\n${host}\r\n`, 414],
      ['an unknown expectation', `GET / HTTP/1.1\r\n${host}Expect: 200-ok\r\n\r\n`, 417],
    ]
    for (const [name, request, status = 400] of cases) {
      const raw = client(t, proxy.port).send(`${request}GET /smuggled HTTP/1.1\r\n${host}\r\n`)
      const response = await raw.response()
      t.equal(response.status, status, name)
      await raw.end()
      t.equal(raw.pending.length, 0, `${name}: nothing but that answer, then the end`)
    }
    t.notMatch(proxy.asked.join(), /smuggled/)
    t.strictSame(
      proxy.asked.filter(line => !line.startsWith('POST')),
      [],
      'nothing reached the application',
    )
    t.equal((await fetchRaw(t, proxy.port)).status, 200, 'it still serves')
  },
)

t.test('heads and targets of half the limit pass', async t => {
  const proxy = await echo(t)
  const fields = `A: ${'b'.repeat(16_000)}\r\n`
  t.equal((await fetchRaw(t, proxy.port, { fields })).status, 200)
  t.equal((await fetchRaw(t, proxy.port, { target: `/${'a'.repeat(4000)}` })).status, 200)
})

t.test('pipelined requests, with bodies too, are answered completely and in order', async t => {
  const proxy = await echo(t)
  const raw = client(t, proxy.port)
  const requests = Array.from({ length: 40 }, (_, i) =>
    i % 2
      ? `POST /${i} HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`
      : `GET /${i} HTTP/1.1\r\n${host}\r\n`,
  )
  raw.send(requests.join(''))
  for (let i = 0; i < 40; i++) {
    const { body } = await raw.response()
    t.equal(body.toString(), i % 2 ? `POST /${i} abc` : `GET /${i} `)
  }
})

t.test('what is sent behind many unanswered requests is left to the system', async t => {
  const app = await httpPeer(t, () => {}) // never answers
  const proxy = await startProxy(t, app.port)
  const requests = [
    `GET / HTTP/1.1\r\n${host}\r\n`,
    `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`,
  ]
  for (const request of requests) {
    const { socket } = client(t, proxy.port)
    const pieces = 400
    const taken = await flood(socket, request, pieces)
    t.ok(taken < pieces, `${taken} pieces of ${pieces} are taken`)
    socket.destroy()
  }
})

t.test('a request in front of rubbish is answered before the rubbish is', async t => {
  const proxy = await echo(t)
  const raw = client(t, proxy.port).send(`GET /good HTTP/1.1\r\n${host}\r\nrubbish\r\n\r\n`)
  t.equal((await raw.response()).body.toString(), 'GET /good ')
  t.equal((await raw.response()).status, 400)
  await raw.end()
})

t.test(
  'Connection: close is obeyed and echoed, and HTTP/1.0 closes unless asked otherwise',
  async t => {
    const proxy = await echo(t)
    const cases: [request: string, closes: boolean][] = [
      [`GET / HTTP/1.1\r\n${host}\r\n`, false],
      [`GET / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, true],
      [`GET / HTTP/1.0\r\n${host}\r\n`, true],
      [`GET / HTTP/1.0\r\n\r\n`, true],
      [`GET / HTTP/1.0\r\n${host}Connection: keep-alive\r\n\r\n`, false],
    ]
    for (const [request, closes] of cases) {
      const raw = client(t, proxy.port).send(request)
      const response = await raw.response()
      t.equal(response.status, 200)
      t.match(response.head, closes ? /^connection: close/im : /^connection: keep-alive/im)
      if (closes) await raw.end()
      else t.equal((await raw.send(request).response()).status, 200)
    }
  },
)

t.test('a head that does not get complete in time is answered 408 and closed', async t => {
  const proxy = await echo(t, { requestHeadTimeoutMs: 200 })
  for (const start of ['', `GET / HTTP/1.1\r\n${host}`]) {
    const raw = client(t, proxy.port).send(start)
    t.match((await raw.end()).toString(), /^HTTP\/1\.1 408 /)
  }
})

t.test('an idle connection is closed, not before half of its time', async t => {
  const proxy = await echo(t, { keepAliveIdleMs: 400 })
  for (const request of ['GET / HTTP/1.1\r\n', 'POST / HTTP/1.1\r\nContent-Length: 0\r\n']) {
    const raw = client(t, proxy.port).send(`${request}${host}\r\n`)
    await raw.response()
    const since = performance.now()
    await raw.end()
    const idleMs = performance.now() - since
    t.ok(idleMs > 200 && idleMs < 1300, `${idleMs} ms after ${request}`)
  }
})

t.test('requests beyond maxInflight get 503 at once and disturb nobody', async t => {
  let release: (() => void) | undefined
  const app = await httpPeer(t, (_req, res) => {
    release = () => void res.end('late')
  })
  const proxy = await startProxy(t, app.port, { maxInflight: 1 })
  const first = client(t, proxy.port).send(`GET / HTTP/1.1\r\n${host}\r\n`)
  await until(() => release !== undefined)
  const second = await fetchRaw(t, proxy.port)
  t.equal(second.status, 503)
  t.match(second.field('retry-after'), /^\d+$/)
  release?.()
  t.equal((await first.response()).body.toString(), 'late')
})

t.test(
  'OPTIONS with Max-Forwards: 0, TRACE, CONNECT and loops do not reach the application',
  async t => {
    const proxy = await echo(t, { viaName: 'edge1' })
    const last = await fetchRaw(t, proxy.port, {
      method: 'OPTIONS',
      target: '*',
      fields: 'Max-Forwards: 0\r\n',
    })
    t.equal(last.status, 204)
    t.equal((await fetchRaw(t, proxy.port, { method: 'TRACE' })).status, 405)
    const connect = client(t, proxy.port).send('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n')
    t.equal((await connect.response()).status, 405)
    await connect.end()
    t.equal(
      (await fetchRaw(t, proxy.port, { fields: 'Via: 1.0 x, 1.1 edge1 (c)\r\n' })).status,
      508,
    )
    t.strictSame(proxy.asked, [])

    t.equal((await fetchRaw(t, proxy.port, { fields: 'Via: 1.1 edge10\r\n' })).status, 200)
    const further = await fetchRaw(t, proxy.port, {
      method: 'OPTIONS',
      target: '*',
      fields: 'Max-Forwards: 3\r\n',
    })
    t.equal(further.status, 200)
    t.strictSame(proxy.asked, ['GET /', 'OPTIONS *'])
    t.equal(
      (await fetchRaw(t, proxy.port, { method: 'PROPFIND' })).status,
      200,
      'other methods pass',
    )
  },
)

t.test('an absolute target reaches the application in origin form', async t => {
  const seen: string[] = []
  const app = await httpPeer(t, (req, res) => {
    seen.push([req.url, req.headers.host, req.headers['x-forwarded-host']].join(' '))
    res.end()
  })
  const proxy = await startProxy(t, app.port)
  for (const target of [
    'http://other.example:81/a?b',
    'http://other.example?c',
    'HTTP://other.example',
  ]) {
    t.equal((await fetchRaw(t, proxy.port, { target })).status, 200)
  }
  t.strictSame(seen, [
    '/a?b other.example:81 other.example:81',
    '/?c other.example other.example',
    '/ other.example other.example',
  ])
})

t.test('Expect: 100-continue gets a 100, then the final answer', async t => {
  const proxy = await echo(t)
  const raw = client(t, proxy.port)
  raw.send(`POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nExpect: 100-continue\r\n\r\n`)
  while (!raw.pending.includes('\r\n\r\n')) await raw.more()
  t.match(raw.pending.toString(), /^HTTP\/1\.1 100 /)
  t.equal((await raw.send('abc').response()).body.toString(), 'POST / abc')
})

t.test('every request has its line in the log, refused ones too', async t => {
  const proxy = await echo(t)
  const fields = 'User-Agent: x"}\r\nX-Request-Id: forged-by-client\r\n'
  const response = await fetchRaw(t, proxy.port, { target: '/a?secret=1', fields })
  await fetchRaw(t, proxy.port, { target: 'relative' })
  await until(() => proxy.lines.filter(l => l['msg'] === 'request').length === 2)
  const [good, bad] = proxy.lines.filter(l => l['msg'] === 'request')
  t.match(good, {
    reqId: response.field('x-request-id') ?? '?',
    client: '127.0.0.1',
    method: 'GET',
    host: 'site.example',
    target: '/a',
    status: 200,
    bytesIn: 0,
    bytesOut: 16,
    appStatus: 200,
    reproxy: 'none',
    attempts: 0,
    cache: 'none',
    aborted: '',
    ua: 'x"}',
  })
  t.match(bad, { status: 400 })
  t.not(good?.['reqId'], 'forged-by-client')
})

t.test(
  'closing lets requests in progress finish with Connection: close and drops idle connections',
  async t => {
    let release: (() => void) | undefined
    const app = await httpPeer(t, (_req, res) => {
      release = () => void res.end('late')
    })
    const proxy = await startProxy(t, app.port, { drainTimeoutMs: 5000 })
    const idle = client(t, proxy.port)
    const busy = client(t, proxy.port).send(`GET / HTTP/1.1\r\n${host}\r\n`)
    await until(() => release !== undefined)
    const closed = proxy.reproxy.close()
    await idle.end()
    const refused = client(t, proxy.port)
    await refused.end()
    release?.()
    const response = await busy.response()
    t.equal(response.body.toString(), 'late')
    t.match(response.head, /^connection: close/im)
    await closed
    await proxy.reproxy.close()
  },
)

t.test('closing fails when requests do not finish in time', async t => {
  let asked = false
  const app = await httpPeer(t, () => {
    asked = true
  })
  const proxy = await startProxy(t, app.port, { drainTimeoutMs: 100 })
  const busy = client(t, proxy.port).send(`GET / HTTP/1.1\r\n${host}\r\n`)
  await until(() => asked)
  await t.rejects(proxy.reproxy.close())
  await busy.end()
})

t.test('a body that stops in the middle is answered 408 and never completed', async t => {
  let complete = false
  const app = await httpPeer(t, req => {
    req.on('error', () => {})
    req.on('end', () => {
      complete = true
    })
    req.resume()
  })
  const ports = [
    (await startProxy(t, app.port, { clientStallTimeoutMs: 200 })).port,
    (await startProxy(t, app.port, { uploadStallTimeoutMs: 200 })).port,
  ] as const
  for (const [framing, port] of [
    ['Content-Length: 9', ports[0]],
    ['Transfer-Encoding: chunked', ports[0]],
    ['Content-Length: 9', ports[1]],
  ] as const) {
    const raw = client(t, port).send(`POST / HTTP/1.1\r\n${host}${framing}\r\n\r\n3\r\nabc`)
    t.equal((await raw.response()).status, 408)
    await raw.end()
    await until(() => app.sockets.size === 0)
  }
  await sleep(20)
  t.equal(complete, false)
})
