import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  client,
  fetchRaw,
  fileNode,
  fileProxy,
  ok,
  rawPeer,
  until,
  writePaced,
  type RawPeer,
} from './peers.ts'

type Cut = 'end' | 'reset' | 'stall'

/** A node that serves `file` and breaks off after `bytes` of the body of each answer. */
function cutNode(t: Test, file: Buffer, bytes: number, how: Cut, extra = ''): Promise<RawPeer> {
  return rawPeer(t, async ({ socket, range }) => {
    const [, from = '0', to = String(file.length - 1)] =
      /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
    const last = to === '' ? file.length - 1 : Number(to)
    const head = range
      ? `HTTP/1.1 206 X\r\nContent-Range: bytes ${from}-${last}/${file.length}\r\n`
      : 'HTTP/1.1 200 OK\r\n'
    socket.write(`${head}Content-Length: ${last - Number(from) + 1}\r\n${extra}\r\n`)
    const body = file.subarray(Number(from), Math.min(Number(from) + bytes, last + 1))
    await writePaced(socket, body)
    if (how === 'end') socket.end()
    if (how === 'reset') setTimeout(() => socket.resetAndDestroy(), 20)
  })
}

t.test('60 MB arrive bit for bit while one replica after the other is cut', async t => {
  const file = randomBytes(60_000_000)
  const cuts: [number, Cut][] = [
    [1, 'end'],
    [7_000_001, 'reset'],
    [11_000_000, 'stall'],
    [20_000_000, 'end'],
  ]
  const nodes = await Promise.all(cuts.map(([bytes, how]) => cutNode(t, file, bytes, how)))
  nodes.push(await fileNode(t, file))
  const proxy = await fileProxy(t, nodes.map(node => node.url()).join(' '), {
    ports: nodes.map(node => node.port),
    stallTimeoutMs: 300,
  })
  const socket = connect(proxy.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(
    'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /again HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  )
  let head: Buffer | undefined
  let seen = 0
  const hash = createHash('sha256')
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    let body = chunk
    if (!head) {
      head = chunk.subarray(0, chunk.indexOf('\r\n\r\n') + 4)
      body = chunk.subarray(head.length)
    }
    body = body.subarray(0, file.length - seen)
    seen += body.length
    hash.update(body)
    if (seen === file.length) break // the same connection goes on with the next response
  }
  t.match(head?.toString(), /^HTTP\/1\.1 200 OK\r\n.*content-length: 60000000\r\n/is)
  t.equal(seen, file.length)
  t.equal(hash.digest('hex'), createHash('sha256').update(file).digest('hex'))
  t.match(nodes[1]?.requests[0]?.range, 'bytes=1-59999999')
  await until(() => proxy.lines.some(l => l['target'] === '/' && l['msg'] === 'request'))
  const line = proxy.lines.find(l => l['target'] === '/')
  t.match(line, { status: 200, resumed: true, attempts: 5, bytesOut: 60_000_000, aborted: '' })
})

t.test(
  'a ranged answer goes on at the absolute offset, and the connection goes on after it',
  async t => {
    const file = Buffer.from('0123456789abcdefghij')
    const first = await cutNode(t, file, 3, 'end')
    const second = await fileNode(t, file)
    const proxy = await fileProxy(t, `${first.url()} ${second.url()}`, {
      ports: [first.port, second.port],
    })
    const raw = client(t, proxy.port)
    for (let i = 0; i < 2; i++) {
      const got = await raw
        .send('GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=5-14\r\n\r\n')
        .response()
      t.equal(got.status, 206)
      t.equal(got.field('content-range'), 'bytes 5-14/20')
      t.equal(got.body.toString(), '56789abcde')
    }
    t.equal(second.requests[0]?.range, 'bytes=8-14')
  },
)

t.test('a replica that ignores Range goes on behind the bytes that were sent', async t => {
  const file = Buffer.from('0123456789')
  for (const range of ['', 'Range: bytes=2-7\r\n']) {
    const first = await cutNode(t, file, 3, 'end')
    const whole = await rawPeer(t, ({ socket }) => void socket.write(ok(file.toString())))
    const proxy = await fileProxy(t, `${first.url()} ${whole.url()}`, {
      ports: [first.port, whole.port],
    })
    const got = await fetchRaw(t, proxy.port, { fields: range })
    t.equal(got.body.toString(), range ? '234567' : '0123456789')
  }
})

t.test('only an exact continuation of a replica of the same length is taken', async t => {
  const file = Buffer.from('0123456789')
  const piece = (range: string, length: number, extra = ''): string =>
    `HTTP/1.1 206 X\r\nContent-Range: bytes ${range}\r\nContent-Length: ${length}\r\n${extra}\r\n${'x'.repeat(length)}`
  const bad = [
    piece('2-9/10', 8),
    piece('4-9/10', 6),
    piece('3-8/10', 6),
    piece('3-9/11', 7),
    piece('3-9/10', 6),
    piece('3-9/10', 7, 'Content-MD5: b\r\n'),
    piece('3-9/10', 7, 'Content-Encoding: gzip\r\n'),
    ok('x'.repeat(11)),
    'HTTP/1.1 200 OK\r\n\r\nxxxxxxxxxx',
    'HTTP/1.1 416 X\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n',
  ]
  const extra = 'Content-MD5: a\r\nETag: "one"\r\n'
  const first = await cutNode(t, file, 3, 'end', extra)
  const last = await fileNode(t, file, 'ETag: "two"\r\nContent-MD5: a\r\n')
  for (const answer of bad) {
    const other = await rawPeer(t, ({ socket }) => void socket.write(answer))
    const config = { ports: [first.port, other.port, last.port] }
    const good = await fileProxy(t, `${first.url()} ${other.url()} ${last.url()}`, config)
    t.equal((await fetchRaw(t, good.port)).body.toString(), '0123456789', answer)
    const none = await fileProxy(t, `${first.url()} ${other.url()}`, config)
    const cut = await fetchRaw(t, none.port)
    t.equal(cut.closed, true, answer)
    t.equal(cut.body.toString(), '012', answer)
  }
})

t.test('what cannot be completed is broken off visibly and at once', async t => {
  const bodies: [name: string, answer: string][] = [
    ['length', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
    ['inside a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc'],
    ['a bad chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n'],
  ]
  for (const [name, answer] of bodies) {
    const node = await rawPeer(t, async ({ socket }) => {
      socket.write(answer)
      await sleep(30)
      socket.end()
    })
    const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
    for (const version of ['1.1', '1.0']) {
      const raw = client(t, proxy.port).send(`GET / HTTP/${version}\r\nHost: a\r\n\r\n`)
      const startedAt = performance.now()
      const all = (await raw.end()).toString()
      t.ok(performance.now() - startedAt < 1000)
      // What is known to be broken from the start may be cut before anything has left.
      if (name !== 'a bad chunk size') t.match(all, /^HTTP\/1\.1 200 /)
      if (all.includes('Content-Length: 9')) t.notMatch(all, /abc.+$/, name)
      else if (version === '1.1') t.notMatch(all, /\r\n0\r\n\r\n$/, `${name}: no last chunk`)
      else t.equal(raw.reset, true, `${name}: reset`)
    }
    await until(() => proxy.lines.some(l => l['aborted'] === 'upstream'))
  }
})

t.test('before the first byte another replica, even of another length, starts over', async t => {
  const first = await rawPeer(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')
    setTimeout(() => socket.resetAndDestroy(), 30)
  })
  const second = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, `${first.url()} ${second.url()}`, {
    ports: [first.port, second.port],
  })
  t.equal((await fetchRaw(t, proxy.port)).body.toString(), 'file bytes')
})
