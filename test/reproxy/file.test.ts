import t from 'tap'
import {
  client,
  fetchRaw,
  fileNode,
  fileProxy,
  httpPeer,
  ok,
  rawPeer,
  startProxy,
} from './peers.ts'

const closed = 'http://127.0.0.1:1/'

t.test('status and fields are the application’s, the bytes are the node’s', async t => {
  const node = await fileNode(
    t,
    'file bytes',
    'ETag: "node"\r\nServer: node\r\nContent-Type: text/x\r\n',
  )
  const proxy = await fileProxy(t, node.url('/dev1/0/000/000/0000000001.fid?1.sig'), {
    ports: [node.port],
    fields: {
      'Content-Type': 'image/png',
      ETag: '"app"',
      'Set-Cookie': ['a=1', 'b=2'],
      'X-Custom': 'yes',
      'X-Accel-Buffering': 'no',
      'X-Reproxy-Cache-For': '10',
    },
  })
  const fields = 'Cookie: secret\r\nAccept-Encoding: gzip\r\nIf-None-Match: "other"\r\n'
  const got = await fetchRaw(t, proxy.port, { fields })
  t.equal(got.status, 200)
  t.equal(got.body.toString(), 'file bytes')
  t.equal(got.field('content-type'), 'image/png')
  t.equal(got.field('etag'), '"app"')
  t.equal(got.field('accept-ranges'), 'bytes')
  t.equal(got.field('content-length'), '10')
  t.equal(got.field('x-custom'), 'yes')
  t.equal(got.head.match(/^set-cookie: /gim)?.length, 2)
  t.equal(got.head.match(/^date: /gim)?.length, 1)
  t.notMatch(got.head, /x-reproxy|x-accel|server: node|transfer-encoding/i)
  t.equal(
    node.requests[0]?.head,
    `GET /dev1/0/000/000/0000000001.fid?1.sig HTTP/1.1\r\nHost: 127.0.0.1:${node.port}`,
    'the node gets the path and its query verbatim, its own Host, and nothing else',
  )
  const line = proxy.lines.find(l => l['msg'] === 'request')
  t.match(line, {
    reproxy: 'url',
    node: `127.0.0.1:${node.port}`,
    attempts: 1,
    status: 200,
    bytesOut: 10,
  })
  t.notMatch(JSON.stringify(proxy.lines), /sig/, 'the signature is not logged')
})

t.test(
  'the application’s status goes with the file, except that 204 and 206 become 200',
  async t => {
    const node = await fileNode(t, 'file bytes')
    for (const [status, shown] of [
      [200, 200],
      [201, 201],
      [204, 200],
      [206, 200],
      [403, 403],
      [404, 404],
      [500, 500],
    ] as const) {
      const fields: Record<string, string> =
        status === 206 ? { 'Content-Range': 'bytes 0-1/9' } : {}
      const proxy = await fileProxy(t, node.url(), { ports: [node.port], status, fields })
      const got = await fetchRaw(t, proxy.port)
      t.equal(got.status, shown)
      t.equal(got.body.toString(), 'file bytes')
      t.equal(got.field('content-range'), undefined)
    }
  },
)

t.test('a 304 with a list stays a bare 304', async t => {
  const node = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, node.url(), { ports: [node.port], status: 304 })
  const raw = client(t, proxy.port)
  for (let i = 0; i < 2; i++) {
    const got = await raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n').response()
    t.equal(got.status, 304)
    t.notMatch(got.head, /x-reproxy/i)
  }
  t.equal(node.connections(), 0)
})

t.test('HEAD asks the node with HEAD and shows its length', async t => {
  const node = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, `${closed} ${node.url()}`, {
    ports: [1, node.port],
    fields: { 'X-Reproxy-Expected-Size': '10' },
  })
  const raw = client(t, proxy.port)
  for (let i = 0; i < 2; i++) {
    raw.send('HEAD / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n')
    const got = await raw.response({ method: 'HEAD' })
    t.equal(got.status, 200)
    t.equal(got.field('content-length'), '10')
  }
  t.match(node.requests[0]?.head, /^HEAD /)
  t.equal(node.requests[0]?.range, undefined, 'Range is for GET only')
})

t.test(
  'a POST gives its body to the application and gets the file from a bodyless GET',
  async t => {
    const node = await fileNode(t, 'file bytes')
    let body = ''
    const app = await httpPeer(t, (req, res) => {
      req.on('data', (chunk: Buffer) => (body += chunk.toString()))
      req.on('end', () => res.writeHead(200, { 'x-reproxy-url': node.url() }).end())
    })
    const proxy = await startProxy(t, app.port, { ports: [node.port] })
    const got = await fetchRaw(t, proxy.port, {
      method: 'POST',
      fields: 'Content-Length: 4\r\n',
      body: 'form',
    })
    t.equal(got.body.toString(), 'file bytes')
    t.equal(body, 'form')
    t.match(node.requests[0]?.head, /^GET /)
  },
)

t.test('an empty file is 200 with length 0, also where 0 is expected', async t => {
  const node = await fileNode(t, '')
  const proxy = await fileProxy(t, node.url(), {
    ports: [node.port],
    fields: { 'X-Reproxy-Expected-Size': '0' },
  })
  const got = await fetchRaw(t, proxy.port)
  t.equal(got.status, 200)
  t.equal(got.field('content-length'), '0')
})

t.test('nodes of every framing are served, re-framed for the client', async t => {
  const cases: [name: string, answer: string][] = [
    [
      'chunked',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nfile\r\n6\r\n bytes\r\n0\r\nA: b\r\n\r\n',
    ],
    ['close-delimited', 'HTTP/1.0 200 OK\r\n\r\nfile bytes'],
    ['HTTP/1.0 with length', 'HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nfile bytes'],
    ['Connection: close', ok('file bytes', 'Connection: close\r\n')],
    [
      'after interim responses',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n${ok('file bytes')}`,
    ],
    ['identity coding', ok('file bytes', 'Content-Encoding: identity\r\n')],
    ['without a reason', 'HTTP/1.1 200\r\nContent-Length: 10\r\n\r\nfile bytes'],
  ]
  for (const [name, answer] of cases) {
    const node = await rawPeer(t, ({ socket }) => {
      socket.write(answer)
      if (!/Content-Length|chunked/.test(answer) || /close/.test(answer)) socket.end()
    })
    const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
    const raw = client(t, proxy.port)
    for (let i = 0; i < 2; i++) {
      const got = await raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n').response()
      t.equal(got.body.toString(), 'file bytes', name)
      t.equal(got.closed, false, name)
    }
    const old = await fetchRaw(t, proxy.port, { version: '1.0', fields: 'TE: chunked\r\n' })
    t.equal(old.body.toString(), 'file bytes', `${name}, 1.0 client`)
    t.equal(old.field('transfer-encoding'), undefined)
    t.equal(old.closed, old.field('content-length') === undefined)
  }
})

t.test('connections to nodes are used again, and never mix answers', async t => {
  const one = await fileNode(t, 'one')
  const two = await fileNode(t, 'two')
  const app = await httpPeer(t, (req, res) => {
    if (req.url === '/plain') res.end('plain')
    else res.writeHead(200, { 'X-REPROXY-URL': req.url === '/1' ? one.url() : two.url() }).end('x')
  })
  const proxy = await startProxy(t, app.port, { ports: [one.port, two.port] })
  const raw = client(t, proxy.port)
  const wanted: Record<string, string> = { '/1': 'one', '/2': 'two', '/plain': 'plain' }
  const order = Array.from({ length: 30 }, (_, i) => Object.keys(wanted)[i % 3] as string)
  raw.send(order.map(path => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
  for (const path of order) t.equal((await raw.response()).body.toString(), wanted[path])
  t.equal(one.connections(), 1)
  t.equal(two.connections(), 1)

  const many = await Promise.all(order.map(target => fetchRaw(t, proxy.port, { target })))
  t.strictSame(
    many.map(got => got.body.toString()),
    order.map(path => wanted[path]),
  )
})

t.test('what a node says of reproxying is neither followed nor shown', async t => {
  const other = await fileNode(t, 'other')
  const node = await fileNode(t, 'file bytes', `X-Reproxy-URL: ${other.url()}\r\n`)
  const proxy = await fileProxy(t, node.url(), { ports: [node.port, other.port] })
  const got = await fetchRaw(t, proxy.port)
  t.equal(got.body.toString(), 'file bytes')
  t.notMatch(got.head, /x-reproxy/i)
  t.equal(other.connections(), 0)
})

t.test('File comes before URL before Service, and empty values count as absent', async t => {
  const node = await fileNode(t, 'file bytes')
  const list = node.url()
  const cases: [
    fields: Record<string, string | string[]>,
    status: number,
    body: string | undefined,
  ][] = [
    [{ 'X-Reproxy-File': '/etc/passwd', 'X-Reproxy-URL': list }, 404, undefined],
    [{ 'X-Reproxy-File': '', 'X-Reproxy-URL': list }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': list, 'X-Reproxy-Service': 'x' }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': ' ', 'X-Reproxy-Service': 'x' }, 404, undefined],
    [{ 'X-Reproxy-URL': '', 'X-Reproxy-Expected-Size': '3' }, 200, 'app'],
    [{ 'X-Reproxy-URL': ['', list] }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': [`${closed} ${closed}`, list] }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': `\t ${closed} \t  ${list} ` }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': `ftp://x/ /dev1/x ${list}` }, 200, 'file bytes'],
    [{ 'X-Reproxy-URL': 'ftp://x/ /dev1/x', 'Set-Cookie': 'a=b' }, 503, undefined],
  ]
  for (const [fields, status, body] of cases) {
    const app = await httpPeer(t, (_req, res) => res.writeHead(200, fields).end('app'))
    const proxy = await startProxy(t, app.port, { ports: [node.port] })
    const got = await fetchRaw(t, proxy.port)
    t.equal(got.status, status, JSON.stringify(fields))
    if (body !== undefined) t.equal(got.body.toString(), body)
    t.notMatch(got.head, /x-reproxy|a=b/i)
    t.notMatch(got.body.toString(), /passwd|127\.0/)
  }
})

t.test('an answer of the application that is not shown never reaches a client', async t => {
  const node = await fileNode(t, 'file bytes')
  const stray = ok('EVIL')
  const app = await rawPeer(t, ({ head, socket }) => {
    if (head.includes('GET /plain')) socket.write(ok('plain'))
    else if (head.includes('GET /chunked')) {
      socket.write(
        `HTTP/1.1 200 OK\r\nX-Reproxy-URL: ${node.url()}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n`,
      )
    } else socket.write(ok('ignored', `X-Reproxy-URL: ${node.url()}\r\n`) + stray)
  })
  const proxy = await startProxy(t, app.port, { ports: [node.port] })
  for (let i = 0; i < 3; i++) {
    t.equal((await fetchRaw(t, proxy.port, { target: '/file' })).body.toString(), 'file bytes')
    const chunked = await fetchRaw(t, proxy.port, { target: '/chunked' })
    t.equal(chunked.body.toString(), 'file bytes')
    t.equal(chunked.field('transfer-encoding'), undefined)
    t.equal((await fetchRaw(t, proxy.port, { target: '/plain' })).body.toString(), 'plain')
  }
})
