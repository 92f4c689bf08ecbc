import t, { type Test } from 'tap'
import { client, fetchRaw, ok, rawPeer, startProxy } from './peers.ts'

/** What the application sees of a request with these fields, and what the client of the answer. */
async function exchange(
  t: Test,
  fields: string,
  { config = {}, answer = '', version = '1.1' } = {},
): Promise<{ seen: (name: string) => string[]; head: string; shown: string; reqId: unknown }> {
  const app = await rawPeer(t, ({ socket }) => void socket.write(ok('body', answer)))
  const proxy = await startProxy(t, app.port, { viaName: 'edge', ...config })
  const got = await fetchRaw(t, proxy.port, { fields, version })
  const head = app.requests[0]?.head ?? ''
  const seen = (name: string): string[] =>
    head
      .split('\r\n')
      .filter(line => line.toLowerCase().startsWith(`${name}:`))
      .map(line => line.slice(name.length + 1).trim())
  return {
    seen,
    head,
    shown: got.head,
    reqId: proxy.lines.find(l => l['msg'] === 'request')?.['reqId'],
  }
}

t.test('what a client must not say does not reach the application', async t => {
  const forged = [
    'X-Reproxy-URL',
    'x-reproxy-file',
    'X-Accel-Redirect',
    'X-Sendfile',
    'X-Sendfile-Type',
    'X_Forwarded_For',
    'X-Forwarded_For',
    'X_Reproxy_URL',
    'X_Accel_Redirect',
    'X_Real_IP',
    'X_Request_Id',
    'Transfer_Encoding',
    'Content_Length',
    'Proxy_Connection',
    'X-Host',
    'Forwarded',
    'X-Forwarded-Port',
    'X-Forwarded-Prefix',
    'X_Forwarded_Port',
    'X_Host',
    'Keep-Alive',
    'Proxy-Connection',
    'Trailer',
    'HTTP2-Settings',
  ]
  const { head } = await exchange(
    t,
    [...forged, 'X-Kept', 'X_Own_Field'].map(name => `${name}: evil\r\n`).join(''),
  )
  for (const name of forged) t.notMatch(head.toLowerCase(), `\r\n${name.toLowerCase()}:`, name)
  t.match(head, 'X-Kept: evil')
  t.match(head, 'X_Own_Field: evil')
})

t.test('the application is told who asks, whatever an untrusted client says', async t => {
  const lies =
    'X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: evil-evil-evil\r\nX-Proxy-Capabilities: evil\r\nVia: 1.0 before\r\nVia: 1.1 more\r\n'
  const nominated =
    'Connection: close, Via, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Proxy-Capabilities, X-Request-Id, X-Real-IP, Host, X-Mine\r\nX-Mine: 1\r\n'
  for (const fields of [lies, nominated, lies + nominated]) {
    const { seen, head, shown, reqId } = await exchange(t, fields)
    t.strictSame(seen('x-forwarded-for'), ['127.0.0.1'])
    t.strictSame(seen('x-real-ip'), ['127.0.0.1'])
    t.strictSame(seen('x-forwarded-proto'), ['http'])
    t.strictSame(seen('x-forwarded-host'), ['site.example'])
    t.strictSame(seen('host'), ['site.example'])
    t.strictSame(seen('x-proxy-capabilities'), ['reproxy-url'])
    t.strictSame(seen('via'), [fields === lies ? '1.0 before, 1.1 more, 1.1 edge' : '1.1 edge'])
    t.match(seen('x-request-id')[0], /^[0-9a-f-]{36}$/)
    t.match(shown, `X-Request-Id: ${seen('x-request-id')[0]}\r\n`)
    t.equal(reqId, seen('x-request-id')[0])
    t.notMatch(head, /x-mine|evil/i)
  }
})

t.test('a trusted proxy is believed', async t => {
  const config = { trustedProxies: '127.0.0.0/8, 10.0.0.0/8' }
  const said =
    'X-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Host: public.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nForwarded: for=x\r\nX-Request-Id: from-the-edge\r\n'
  const { seen, reqId } = await exchange(t, said, { config })
  t.strictSame(seen('x-forwarded-for'), ['6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1'])
  t.strictSame(seen('x-real-ip'), ['9.9.9.9'])
  t.strictSame(seen('x-forwarded-host'), ['public.example'])
  t.strictSame(seen('x-forwarded-proto'), ['https'])
  t.strictSame(seen('forwarded'), ['for=x'])
  t.strictSame(seen('x-forwarded-port'), ['443'])
  t.strictSame(seen('x-request-id'), ['from-the-edge'])
  t.equal(reqId, 'from-the-edge')
  for (const [list, real] of [
    ['10.0.0.1', '10.0.0.1'],
    ['6.6.6.6, unknown, 10.0.0.1', '10.0.0.1'],
    ['', '127.0.0.1'],
  ]) {
    const got = await exchange(t, list ? `X-Forwarded-For: ${list}\r\n` : '', { config })
    t.strictSame(got.seen('x-real-ip'), [real])
  }
})

t.test('TE goes on only as trailers', async t => {
  t.strictSame((await exchange(t, 'TE: gzip\r\nConnection: TE\r\n')).seen('te'), [])
  t.strictSame((await exchange(t, 'TE: gzip, trailers\r\nConnection: TE\r\n')).seen('te'), [
    'trailers',
  ])
})

t.test('HTTP/1.0 without Host still gives the application one', async t => {
  const app = await rawPeer(t, ({ socket }) => void socket.write(ok('body')))
  const proxy = await startProxy(t, app.port)
  await client(t, proxy.port).send('GET / HTTP/1.0\r\n\r\n').end()
  t.match(app.requests[0]?.head, `Host: 127.0.0.1:${app.port}`)
  t.notMatch(app.requests[0]?.head, /x-forwarded-host/i)
})

t.test('what is meant for the proxy is not shown to the client', async t => {
  const { shown } = await exchange(t, '', {
    answer:
      'Connection: X-Internal, Via\r\nX-Internal: 1\r\nVia: 1.1 inner\r\nKeep-Alive: timeout=999\r\nX-Reproxy-Expected-Size: 4\r\nX-REPROXY-CACHE-FOR: 5\r\nX-Accel-Expires: 1\r\nX-Sendfile: /x\r\nProxy-Connection: x\r\nTrailer: x\r\nUpgrade: h2c\r\nX-Request-Id: theirs\r\n',
  })
  t.notMatch(
    shown,
    /x-internal|x-reproxy|x-accel|x-sendfile|timeout=999|proxy-conn|trailer|upgrade|theirs|inner/i,
  )
  t.match(shown, 'Via: 1.1 edge\r\n')
  const kept = await exchange(t, '', { answer: 'Via: 1.0 inner\r\n' })
  t.match(kept.shown, 'Via: 1.0 inner, 1.1 edge\r\n')
})
