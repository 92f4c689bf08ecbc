/** Perlbal and the reproxy before the same application: what applications rely on is the same. */
import t, { type Test } from 'tap'
import { directory } from '../helpers/directory.ts'
import { freePort, perlbal, startPerlbal } from '../helpers/edges.ts'
import { missing } from '../helpers/missing.ts'
import { client, fileNode, httpPeer, rawPeer, startProxy } from './peers.ts'

const skip = missing('Perlbal', () => perlbal !== undefined)
const closed = 'http://127.0.0.1:1/x'

/** What is compared of an answer: all that applications and browsers see, but the version. */
async function answerOf(
  t: Test,
  port: number,
  { method = 'GET', target = '/', fields = '', body = '' },
): Promise<object> {
  const raw = client(t, port)
  raw.send(`${method} ${target} HTTP/1.0\r\nHost: site.example\r\n${fields}\r\n${body}`)
  const text = (await raw.end()).toString('latin1')
  raw.socket.destroy()
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n')
  const status = Number(statusLine.split(' ')[1])
  // Own answers have a text of their own.
  if (status === 503) return { status }
  const compared =
    /^(content-(type|length|range)|etag|last-modified|cache-control|set-cookie|x-app|location):/i
  const shown = lines
    .filter(line => compared.test(line))
    .map(line => line.replace(/^[^:]+/, name => name.toLowerCase()))
  return { status, fields: shown.toSorted(), body: text.slice(end + 4) }
}

t.test('Perlbal and the reproxy answer alike', { skip }, async t => {
  const bytes = 'the bytes of a file'
  const node = await fileNode(
    t,
    bytes,
    'ETag: "node"\r\nContent-Type: node/type\r\nSet-Cookie: node=1\r\nX-Reproxy-URL: http://127.0.0.1:1/\r\n',
  )
  const other = await fileNode(t, 'another length')
  const gone = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'),
  )
  const moved = await rawPeer(
    t,
    ({ socket }) =>
      void socket.write(`HTTP/1.1 302 Go\r\nLocation: ${node.url()}\r\nContent-Length: 0\r\n\r\n`),
  )
  const size = String(bytes.length)
  /** What the application answers for each path: status and fields beside those that all have. */
  const answers: Record<string, [status: number, fields: Record<string, string>]> = {
    '/file': [200, { 'X-Reproxy-URL': node.url('/dev1/f.fid?a=b&c') }],
    '/lower': [200, { 'x-reproxy-url': node.url() }],
    '/blanks': [200, { 'X-Reproxy-URL': `  ${closed}  \t ${node.url()} ` }],
    '/junk-first': [200, { 'X-Reproxy-URL': `ftp://a/b nonsense ${node.url()}` }],
    '/none-usable': [200, { 'X-Reproxy-URL': 'ftp://a/b nonsense' }],
    '/refused': [200, { 'X-Reproxy-URL': `${closed} ${node.url()}` }],
    '/missing': [200, { 'X-Reproxy-URL': `${gone.url()} ${node.url()}` }],
    '/moved': [200, { 'X-Reproxy-URL': moved.url() }],
    '/all-fail': [200, { 'X-Reproxy-URL': `${closed} ${gone.url()}` }],
    '/size': [
      200,
      { 'X-Reproxy-URL': `${other.url()} ${node.url()}`, 'X-Reproxy-Expected-Size': size },
    ],
    '/size-wrong': [200, { 'X-Reproxy-URL': other.url(), 'X-Reproxy-Expected-Size': size }],
    '/empty-value': [200, { 'X-Reproxy-URL': '' }],
    '/created': [201, { 'X-Reproxy-URL': node.url() }],
    '/no-content': [204, { 'X-Reproxy-URL': node.url() }],
    '/not-found': [404, { 'X-Reproxy-URL': node.url() }],
    '/plain': [200, {}],
    '/redirect': [302, { Location: '/elsewhere' }],
    '/error': [500, {}],
  }
  const app = await httpPeer(t, (req, res) => {
    const [status, fields] = answers[req.url ?? ''] ?? [200, {}]
    req.resume().on('end', () => {
      res.writeHead(status, {
        'Content-Type': 'image/x',
        ETag: '"app"',
        'Last-Modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
        'Cache-Control': 'max-age=5',
        'Set-Cookie': ['a=1', 'b=2'],
        'X-App': 'yes',
        ...fields,
      })
      res.end(status === 204 ? undefined : 'the body of the application')
    })
  })
  const edge = { dir: await directory(t), port: await freePort() }
  await startPerlbal({ ...edge, atEnd: close => t.teardown(close) }, app.port)
  const ports = [node, other, gone, moved].map(({ port }) => port)
  const { port: ours } = await startProxy(t, app.port, { ports: [...ports, 1] })

  for (const target of Object.keys(answers)) {
    for (const method of ['GET', 'HEAD']) {
      const options = { target, method }
      t.strictSame(
        await answerOf(t, ours, options),
        await answerOf(t, edge.port, options),
        `${method} ${target}`,
      )
    }
  }
  for (const range of ['bytes=4-8', 'bytes=4-', 'bytes=-4', 'bytes=0-']) {
    for (const target of ['/file', '/refused']) {
      const options = { target, fields: `Range: ${range}\r\n` }
      t.strictSame(
        await answerOf(t, ours, options),
        await answerOf(t, edge.port, options),
        `${range} of ${target}`,
      )
    }
  }
  const posted = { method: 'POST', target: '/file', fields: 'Content-Length: 5\r\n', body: 'hello' }
  t.strictSame(await answerOf(t, ours, posted), await answerOf(t, edge.port, posted))
})
