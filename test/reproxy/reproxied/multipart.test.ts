import t from 'tap'
import { fetchRaw, fileNode, fileProxy, rawPeer, type WireResponse } from '../peers.ts'

/** The parts of a multipart body, as `CONTENT-RANGE TYPE BODY`. */
function partsOf({ field, body }: WireResponse): string[] {
  const [, boundary] =
    /^multipart\/byteranges; boundary=(\S+)$/.exec(field('content-type') ?? '') ?? []
  const [, ...parts] = body.toString('latin1').split(`\r\n--${boundary}`)
  if (parts.pop() !== '--\r\n') throw new Error('the last boundary is missing')
  return parts.map(part => {
    const [head = '', bytes] = part.split('\r\n\r\n')
    const value = (name: string) => new RegExp(`\r\n${name}: ([^\r]*)`, 'i').exec(head)?.[1]
    return `${value('content-range')} ${value('content-type')} ${bytes}`
  })
}

t.test('several ranges are one multipart body, although nodes know single ranges only', async t => {
  const node = await fileNode(t, '0123456789')
  const deaf = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789'),
  )
  const ports = [node.port, deaf.port]
  const fields = { 'Content-Type': 'a/b' }
  for (const [name, list, more] of [
    ['size unknown', node.url(), {}],
    ['size known', node.url(), { 'X-Reproxy-Expected-Size': '10' }],
    ['a node that ignores Range', deaf.url(), {}],
  ] as const) {
    const proxy = await fileProxy(t, list, { ports, fields: { ...fields, ...more }, maxRanges: 4 })
    const ask = (range: string) => fetchRaw(t, proxy.port, { fields: `Range: bytes=${range}\r\n` })
    const two = await ask('7-8,0-1')
    t.equal(two.status, 206, name)
    t.equal(two.field('content-range'), undefined)
    t.equal(two.field('content-length'), String(two.body.length))
    t.strictSame(partsOf(two), ['bytes 7-8/10 a/b 78', 'bytes 0-1/10 a/b 01'])
    t.strictSame(partsOf(await ask('20-30,1-1,-1')), ['bytes 1-1/10 a/b 1', 'bytes 9-9/10 a/b 9'])
    // For a single range a node that ignores it gives the whole file, and so does the proxy.
    const one = (await ask('20-,2-3')).field('content-range')
    t.equal(one, list === deaf.url() ? undefined : 'bytes 2-3/10', 'one is left')
    const none = await ask('20-,30-')
    t.equal(`${none.status} ${none.field('content-range')}`, '416 bytes */10')
    for (const whole of ['0-,0-', '0-0,1-1,2-2,3-3,4-4']) {
      const got = await ask(whole)
      t.equal(`${got.status} ${got.body.toString()}`, '200 0123456789', whole)
    }
  }
})

t.test('a part goes on at another replica', async t => {
  const good = await fileNode(t, '0123456789')
  const cutting = await rawPeer(t, ({ socket, range }) => {
    const [, first, last] = /(\d+)-(\d+)/.exec(range ?? '') ?? []
    const length = Number(last) - Number(first) + 1
    const head = `HTTP/1.1 206 X\r\nContent-Range: bytes ${first}-${last}/10\r\nContent-Length: ${length}\r\n\r\n`
    socket.end(head + '0123456789'.slice(Number(first), Number(first) + 1))
  })
  const proxy = await fileProxy(t, `${cutting.url()} ${good.url()}`, {
    ports: [cutting.port, good.port],
  })
  const got = await fetchRaw(t, proxy.port, { fields: 'Range: bytes=0-2,5-7\r\n' })
  t.strictSame(partsOf(got), ['bytes 0-2/10 undefined 012', 'bytes 5-7/10 undefined 567'])
})

t.test('all parts are of one content, as far as the nodes tell', async t => {
  const first = await rawPeer(t, ({ socket, range }) => {
    const part =
      'HTTP/1.1 206 X\r\nContent-Range: bytes 0-2/10\r\nContent-Length: 3\r\nRepr-Digest: sha-256=:one:\r\n\r\n012'
    socket.write(range === 'bytes=0-2' ? part : 'HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n')
  })
  const other = await fileNode(t, 'abcdefghij', 'Repr-Digest: sha-256=:two:\r\n')
  const same = await fileNode(t, '0123456789', 'Repr-Digest: sha-256=:one:\r\n')
  const nodes = [first, other, same]
  const proxy = await fileProxy(t, nodes.map(({ url }) => url()).join(' '), {
    ports: nodes.map(({ port }) => port),
    hedgeDelayMs: 0,
  })
  const got = await fetchRaw(t, proxy.port, { fields: 'Range: bytes=0-2,5-7\r\n' })
  t.strictSame(partsOf(got), ['bytes 0-2/10 undefined 012', 'bytes 5-7/10 undefined 567'])
  t.equal(other.requests.length, 1)
})
