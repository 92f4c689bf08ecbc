/** What no request may look like (RFC 9112): each is refused, nothing of it reaches the application. */
import t from 'tap'
import { client, fetchRaw, httpPeer, startProxy, until } from './peers.ts'

const host = 'Host: a\r\n'
const chunked = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`

/** Name, bytes, status of the answer. */
const cases: [name: string, bytes: string | Buffer, status: number][] = [
  [
    'both lengths',
    `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  [
    'both lengths, reversed',
    `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`,
    400,
  ],
  ...['3, 3', '+3', '-3', '0x3', '3x', '3 3', ''].map((value): [string, string, number] => [
    `Content-Length ${value}`,
    `POST / HTTP/1.1\r\n${host}Content-Length: ${value}\r\n\r\nabc`,
    400,
  ]),
  [
    'differing lengths',
    `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    400,
  ],
  [
    'the same length twice',
    `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    400,
  ],
  ['a chunk extension of over 16 KiB', `${chunked}3;${'x'.repeat(17_000)}\r\nabc\r\n`, 413],
  ['absurd length', `POST / HTTP/1.1\r\n${host}Content-Length: 9007199254740992\r\n\r\n`, 400],
  ...[
    'xchunked',
    'chunked, identity',
    'identity',
    'gzip, chunked',
    'chunked\r\nTransfer-Encoding: chunked',
  ].map((value): [string, string, number] => [
    `Transfer-Encoding ${value}`,
    `POST / HTTP/1.1\r\n${host}Transfer-Encoding: ${value}\r\n\r\n0\r\n\r\n`,
    400,
  ]),
  ['chunks in 1.0', `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a chunk size that is not hex', `${chunked}xyz\r\n`, 400],
  ['a negative chunk size', `${chunked}-1\r\n`, 400],
  ['a chunk size of 17 digits', `${chunked}10000000000000000\r\n`, 400],
  ['a chunk size before a bare LF', `${chunked}3\nabc\r\n0\r\n\r\n`, 400],
  ['a chunk longer than its size', `${chunked}3\r\nabcd\r\n0\r\n\r\n`, 400],
  ['bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 400],
  ['bare CR in a value', `GET / HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`, 400],
  ['NUL in a value', `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, 400],
  ['a folded line', `GET / HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`, 400],
  ['blank before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400],
  ['blank before the first field', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
  ['no colon', `GET / HTTP/1.1\r\n${host}nonsense\r\n\r\n`, 400],
  ['an empty name', `GET / HTTP/1.1\r\n${host}: a\r\n\r\n`, 400],
  ['an illegal name', `GET / HTTP/1.1\r\n${host}a(b: c\r\n\r\n`, 400],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', `GET / HTTP/1.1\r\n${host}Host: b\r\n\r\n`, 400],
  ...['a b/c', 'u@a', '', 'a%zz', 'a:b', 'a:65536', '[:::::1]', '[::1'].map(
    (value): [string, string, number] => [
      `Host ${value}`,
      `GET / HTTP/1.1\r\nHost: ${value}\r\n\r\n`,
      400,
    ],
  ),
  ['HTTP/2.0', `GET / HTTP/2.0\r\n${host}\r\n`, 505],
  ['HTTP/3.7', `GET / HTTP/3.7\r\n${host}\r\n`, 505],
  ['no version', `GET /\r\n${host}\r\n`, 400],
  ['two blanks before the target', `GET  /a HTTP/1.1\r\n${host}\r\n`, 400],
  ['two blanks behind the target', `GET /a  HTTP/1.1\r\n${host}\r\n`, 400],
  ['RTSP', `GET /a RTSP/1.0\r\n${host}\r\n`, 400],
  ['ICE', `SOURCE /a ICE/1.0\r\n${host}\r\n`, 400],
  ['blank in the target', `GET /a b HTTP/1.1\r\n${host}\r\n`, 400],
  ['control character in the target', `GET /a\x01b HTTP/1.1\r\n${host}\r\n`, 400],
  ['raw byte in the target', Buffer.from(`GET /\xff HTTP/1.1\r\n${host}\r\n`, 'latin1'), 400],
  ['fragment in the target', `GET /a#b HTTP/1.1\r\n${host}\r\n`, 400],
  ['relative target', `GET a HTTP/1.1\r\n${host}\r\n`, 400],
  ['absolute target without host', `GET http:///a HTTP/1.1\r\n${host}\r\n`, 400],
  ['user in an absolute target', `GET http://u@a/ HTTP/1.1\r\n${host}\r\n`, 400],
  ['a large head', `GET / HTTP/1.1\r\n${host}X: ${'x'.repeat(34_000)}\r\n\r\n`, 431],
  ['200 lines and more', `GET / HTTP/1.1\r\n${host}${'X: y\r\n'.repeat(201)}\r\n`, 431],
  ['a long target', `GET /${'x'.repeat(9000)} HTTP/1.1\r\n${host}\r\n`, 414],
  ['TRACE', `TRACE / HTTP/1.1\r\n${host}\r\n`, 405],
  ['CONNECT', `CONNECT a:1 HTTP/1.1\r\n${host}\r\n`, 405],
  [
    'another expectation',
    `POST / HTTP/1.1\r\n${host}Expect: 200-ok\r\nContent-Length: 0\r\n\r\n`,
    417,
  ],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['a TLS hello', Buffer.from('16030100050100000100', 'hex'), 400],
]

t.test('malformed requests are refused and never passed on', async t => {
  const seen: string[] = []
  const app = await httpPeer(t, (req, res) => {
    req.on('error', () => {})
    // Of a chunked body, only its end makes it a request.
    req.resume().on('end', () => {
      seen.push(`${req.method} ${req.url}`)
      res.end('app')
    })
  })
  const proxy = await startProxy(t, app.port)
  for (const [name, bytes, status] of cases) {
    const raw = client(t, proxy.port).send(bytes)
    const goesOn = name === 'TRACE' // it is a request like any other, but for its answer
    if (!goesOn) raw.send('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n')
    const got = await raw.response()
    t.equal(got.status, status, name)
    if (!goesOn) {
      raw.socket.end()
      await raw.end()
      t.equal(raw.pending.length, 0, `${name}: one answer`)
      t.strictSame(seen, [], name)
    }
    seen.length = 0
    raw.socket.destroy()
  }
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'app')
})

t.test('the same holds however the bytes are cut', async t => {
  const seen: string[] = []
  const app = await httpPeer(t, (req, res) => {
    seen.push(req.url ?? '')
    res.end('app')
  })
  const proxy = await startProxy(t, app.port)
  const bytes = `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`
  for (let at = 1; at < bytes.length; at += 7) {
    const raw = client(t, proxy.port).send(bytes.slice(0, at))
    await new Promise(resolve => setTimeout(resolve, 2))
    raw.send(bytes.slice(at))
    t.equal((await raw.response()).status, 400)
    raw.socket.destroy()
  }
  t.strictSame(seen, [])
})

t.test('fields named like properties of objects are ordinary', async t => {
  const app = await httpPeer(t, (req, res) => res.end(req.rawHeaders.join(' ')))
  const proxy = await startProxy(t, app.port)
  const fields = '__proto__: a\r\nconstructor: b\r\ntoString: c\r\n'
  const got = await fetchRaw(t, proxy.port, { fields })
  t.match(got.body.toString(), /constructor b toString c/)
})

t.test('heads that never end, and connections that say nothing, are cut', async t => {
  const app = await httpPeer(t, (_req, res) => res.end('app'))
  const proxy = await startProxy(t, app.port, { requestHeadTimeoutMs: 200 })
  const silent = client(t, proxy.port)
  const slow = client(t, proxy.port).send('GET / HTTP/1.1\r\nX')
  const drip = setInterval(() => slow.send('x'), 20)
  t.teardown(() => clearInterval(drip))
  await slow.end()
  await silent.end()
  await until(() => slow.closed && silent.closed)
  t.equal((await fetchRaw(t, proxy.port)).status, 200)
})
