/** Connections on which plain requests and others come in turn. */
import t from 'tap'
import { client, fileNode, fileProxy, httpPeer, ok, rawPeer, startProxy } from '../peers.ts'

const get = (target: string, fields = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

t.test('plain requests and others, all sent at once, are answered in order', async t => {
  const app = await httpPeer(t, (req, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => (body += chunk.toString()))
    // The first ones are the slowest.
    req.on('end', () => setTimeout(() => res.end(`${req.url} ${body}`), req.url === '/1' ? 50 : 0))
  })
  const proxy = await startProxy(t, app.port)
  for (const cut of [undefined, 10, 30, 60, 100, 140]) {
    const raw = client(t, proxy.port)
    const bytes =
      get('/1') +
      get('/2') +
      'POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody' +
      get('/4') +
      get('/5', 'Connection: close\r\n')
    raw.send(bytes.slice(0, cut))
    if (cut !== undefined) {
      await new Promise(resolve => setTimeout(resolve, 20))
      raw.send(bytes.slice(cut))
    }
    for (const wanted of ['/1 ', '/2 ', '/3 body', '/4 ', '/5 ']) {
      t.equal((await raw.response()).body.toString(), wanted)
    }
    await raw.end()
    t.equal(raw.pending.length, 0)
  }
})

t.test(
  'what is in memory is sent in its turn, also behind an answer that is just leaving',
  async t => {
    const node = await fileNode(t, 'file bytes')
    const proxy = await fileProxy(t, node.url('/dev1/0/000/000/0000000001.fid'), {
      ports: [node.port],
      fields: { 'X-Reproxy-Cache-For': '60' },
    })
    await client(t, proxy.port).send(get('/f')).response()
    const raw = client(t, proxy.port)
    const options = 'OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n'
    raw.send((options + get('/f', 'Range: bytes=5-\r\n')).repeat(3))
    for (let i = 0; i < 3; i++) {
      t.equal((await raw.response()).status, 204)
      t.equal((await raw.response()).body.toString(), 'bytes')
    }
    t.equal(node.requests.length, 1)
  },
)

t.test('many requests that wait behind a slow one do not get lost', async t => {
  const app = await httpPeer(t, (req, res) =>
    setTimeout(() => res.end(req.url), req.url === '/0' ? 100 : 0),
  )
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  const count = 600
  for (let i = 0; i < count; i++) raw.send(get(`/${i}`, `X-Padding: ${'x'.repeat(150)}\r\n`))
  for (let i = 0; i < count; i++) {
    const got = (await raw.response()).body.toString()
    if (got !== `/${i}`) return t.fail(`${got} instead of /${i}`)
  }
})

t.test('an answer of unknown length is chunked, for HTTP/1.0 ended by closing', async t => {
  const app = await httpPeer(t, (_req, res) => {
    res.write('one ')
    setTimeout(() => res.end('two'), 20)
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port).send(get('/') + get('/'))
  for (let i = 0; i < 2; i++) {
    const { body, field } = await raw.response()
    t.equal(body.toString(), 'one two')
    t.equal(field('transfer-encoding'), 'chunked')
    t.equal(field('content-length'), undefined)
  }
  const old = client(t, proxy.port).send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
  const text = (await old.end()).toString()
  t.match(text, /^HTTP\/1\.1 200 /)
  t.match(text, /\r\nConnection: close\r\n/)
  t.notMatch(text, /transfer-encoding/i)
  t.ok(text.endsWith('\r\n\r\none two'))
})

t.test('methods that nobody knows pass like any other', async t => {
  const app = await rawPeer(t, ({ socket }) => void socket.write(ok('done')))
  const proxy = await startProxy(t, app.port)
  const length = 'Content-Length: 3\r\n'
  const chunks = 'Transfer-Encoding: chunked\r\n'
  const upgrade = 'Connection: upgrade\r\nUpgrade: h2c\r\n'
  for (const method of ['FOO', 'brew', 'X-ODD!', 'GETS']) {
    for (const [fields, body] of [
      ['', ''],
      [upgrade, ''],
      [length, 'abc'],
      [chunks, '3\r\nabc\r\n0\r\n\r\n'],
    ] as const) {
      const raw = client(t, proxy.port)
      raw.send(get('/before') + `${method} /a?b HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`)
      t.equal((await raw.response()).status, 200)
      const { status, body: answer, field } = await raw.response()
      t.match([status, answer.toString(), field('connection')], [200, 'done', 'close'])
      t.ok(app.requests.some(({ head }) => head.startsWith(`${method} /a?b HTTP/1.1\r\n`)))
      app.requests.length = 0
      t.match(proxy.lines.at(-1), { method, status: 200 })
      await raw.end()
    }
  }
  for (const bad of ['F\x01O', 'F(O', 'F\xe4', 'x'.repeat(65)]) {
    const raw = client(t, proxy.port).send(`${bad} / HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.equal((await raw.response()).status, 400, bad)
  }
})

t.test('HEAD, 204 and 304 have no body and leave the connection usable', async t => {
  const app = await rawPeer(t, ({ head, socket }) => {
    const status = /204|304/.exec(head)?.[0] ?? '200'
    const length = head.startsWith('HEAD') ? 'Content-Length: 7\r\n' : ''
    socket.write(`HTTP/1.1 ${status} X\r\n${length}\r\n`)
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port)
  raw.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal((await raw.response({ method: 'HEAD' })).field('content-length'), '7')
  for (const status of [204, 304]) {
    const { head, status: got } = await raw.send(get(`/${status}`)).response()
    t.equal(got, status)
    t.notMatch(head, /transfer-encoding|content-length/i)
  }
})

t.test('an answer to HTTP/1.0 that breaks off before its first byte ends with a reset', async t => {
  const app = await rawPeer(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    setTimeout(() => socket.destroy(), 50)
  })
  const proxy = await startProxy(t, app.port)
  const raw = client(t, proxy.port).send('GET / HTTP/1.0\r\n\r\n')
  await raw.end()
  await new Promise<void>(resolve => {
    if (raw.socket.destroyed) resolve()
    else raw.socket.once('close', () => resolve())
  })
  t.ok(raw.reset, 'nobody can take it for an empty body')
})

t.test('bytes beyond ASCII in fields pass as they are', async t => {
  const node = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, node.url(), { ports: [node.port], fields: { 'X-Good': 'ä' } })
  const { status, field } = await client(t, proxy.port).send(get('/')).response()
  t.equal(status, 200)
  t.equal(field('x-good'), 'ä')
})

t.test(
  'files of sizes around those of the buffers arrive exactly, at clients that pause too',
  async t => {
    const sizes = [0, 1, 4096, 20_000, 32_768, 65_200, 65_400, 65_536, 82_000, 131_072, 3_000_000]
    const files = new Map(
      sizes.map(size => [size, Buffer.from(Array.from({ length: size }, (_, i) => i * 31 + size))]),
    )
    const fileOf = (text: string): Buffer => files.get(Number(/\/(\d+) /.exec(text)?.[1])) as Buffer
    const node = await rawPeer(t, ({ head, socket }) => {
      const file = fileOf(head)
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${file.length}\r\n\r\n`)
      socket.write(file)
    })
    const app = await httpPeer(t, (req, res) => {
      res.writeHead(200, { 'X-Reproxy-URL': node.url(req.url) }).end()
    })
    const proxy = await startProxy(t, app.port, { ports: [node.port] })
    const lane = async (from: number): Promise<void> => {
      const raw = client(t, proxy.port)
      for (let i = 0; i < sizes.length; i++) {
        const line = get(`/${sizes[(from + i) % sizes.length]}`)
        if (from % 2 === 0) raw.socket.pause()
        raw.send(line)
        if (from % 2 === 0) setTimeout(() => raw.socket.resume(), 20)
        const { body } = await raw.response()
        if (!body.equals(fileOf(line))) t.fail(`other bytes for ${line}`)
      }
    }
    await Promise.all(sizes.map((_, i) => lane(i)))
  },
)
