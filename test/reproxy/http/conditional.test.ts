import t from 'tap'
import {
  evaluate,
  parseHttpDate,
  rangeApplies,
  validatorsOf,
} from '../../../reproxy/http/conditions.ts'
import type { Field } from '../../../reproxy/http/headers.ts'
import { fetchRaw, fileNode, fileProxy, ok, rawPeer } from '../peers.ts'

const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
const later = 'Mon, 07 Nov 1994 08:49:37 GMT'
const earlier = 'Sat, 05 Nov 1994 08:49:37 GMT'
const fields = (text: string): Field[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])

t.test('the three date formats are read, others are not', async t => {
  const at = Date.UTC(1994, 10, 6, 8, 49, 37)
  t.equal(parseHttpDate(date), at)
  t.equal(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), at)
  t.equal(parseHttpDate('Sun Nov  6 08:49:37 1994'), at)
  t.equal(parseHttpDate('Sunday, 06-Nov-30 08:49:37 GMT', at), Date.UTC(2030, 10, 6, 8, 49, 37))
  for (const bad of [
    '',
    '0',
    '1994-11-06',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    `${date} `,
  ]) {
    t.equal(parseHttpDate(bad), undefined, bad)
  }
})

t.test('conditions are evaluated in the order of RFC 9110', async t => {
  const both = `ETag: "a"\nLast-Modified: ${date}`
  const cases: [request: string, response: string, verdict: 'proceed' | 304 | 412][] = [
    ['', both, 'proceed'],
    ['If-None-Match: "a"', both, 304],
    ['If-None-Match: W/"a"', both, 304],
    ['If-None-Match: "a"', 'ETag: W/"a"', 304],
    ['If-None-Match: "b", "a"', both, 304],
    ['If-None-Match: "b",, W/"c"', both, 'proceed'],
    ['If-None-Match: *', both, 304],
    ['If-None-Match: a', both, 'proceed'],
    ['If-None-Match: "b" "a"', both, 'proceed'],
    ['If-None-Match: "a,b"', 'ETag: "a,b"', 304],
    [`If-None-Match: "b"\nIf-Modified-Since: ${date}`, both, 'proceed'],
    [`If-Modified-Since: ${date}`, both, 304],
    [`If-Modified-Since: ${later}`, both, 304],
    ['If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT', both, 304],
    [`If-Modified-Since: ${earlier}`, both, 'proceed'],
    ['If-Modified-Since: yesterday', both, 'proceed'],
    [`If-Modified-Since: ${later}`, 'ETag: "a"', 'proceed'],
    ['If-Match: "a"', both, 'proceed'],
    ['If-Match: *', both, 'proceed'],
    ['If-Match: "b", "c"', both, 412],
    ['If-Match: W/"a"', both, 412],
    ['If-Match: "a"', 'ETag: W/"a"', 412],
    ['If-Match: a', both, 412],
    ['If-Match: "b"', `Last-Modified: ${date}`, 412],
    [`If-Match: "a"\nIf-Unmodified-Since: ${earlier}`, both, 'proceed'],
    [`If-Unmodified-Since: ${earlier}`, both, 412],
    [`If-Unmodified-Since: ${date}`, both, 'proceed'],
    ['If-Unmodified-Since: never', both, 'proceed'],
    ['If-Match: "a"\nIf-None-Match: "a"', both, 304],
    ['If-Match: "b"', '', 'proceed'],
    ['If-None-Match: *', '', 'proceed'],
    ['If-None-Match: *', 'ETag: unquoted', 'proceed'],
  ]
  for (const [request, response, verdict] of cases) {
    t.equal(
      evaluate(fields(request), validatorsOf(fields(response))),
      verdict,
      `${request} / ${response}`,
    )
  }
})

t.test('If-Range takes a strong ETag or the very Last-Modified', async t => {
  const cases: [ifRange: string, response: string, applies: boolean][] = [
    ['"a"', 'ETag: "a"', true],
    ['"b"', 'ETag: "a"', false],
    ['W/"a"', 'ETag: W/"a"', false],
    ['"a"', 'ETag: W/"a"', false],
    [date, `Last-Modified: ${date}`, true],
    [later, `Last-Modified: ${date}`, false],
    ['Sunday, 06-Nov-94 08:49:37 GMT', `Last-Modified: ${date}`, false],
    ['"a"', '', false],
    ['junk', `Last-Modified: ${date}`, false],
  ]
  for (const [ifRange, response, applies] of cases) {
    t.equal(
      rangeApplies(fields(`If-Range: ${ifRange}`), validatorsOf(fields(response))),
      applies,
      ifRange,
    )
  }
  t.equal(rangeApplies([], validatorsOf([])), true)
})

t.test('a 304 or 412 of ours contacts no node', async t => {
  const node = await fileNode(t, 'file bytes', 'ETag: "node"\r\n')
  const proxy = await fileProxy(t, node.url(), {
    ports: [node.port],
    fields: {
      ETag: '"app"',
      'Cache-Control': 'max-age=5',
      'Content-Type': 'image/png',
      'Set-Cookie': ['a=1', 'b=2'],
      Vary: 'Cookie',
    },
  })
  for (const method of ['GET', 'HEAD']) {
    const got = await fetchRaw(t, proxy.port, { method, fields: 'If-None-Match: "app"\r\n' })
    t.equal(got.status, 304)
    t.equal(got.field('etag'), '"app"')
    t.equal(got.field('cache-control'), 'max-age=5')
    t.equal(got.field('set-cookie'), 'a=1, b=2')
    t.equal(got.field('vary'), 'Cookie')
    t.ok(got.field('date'))
    t.equal(got.field('content-type'), undefined)
  }
  t.equal((await fetchRaw(t, proxy.port, { fields: 'If-Match: "old"\r\n' })).status, 412)
  t.equal(node.connections(), 0)
  const validator = 'If-None-Match: "node"\r\n'
  t.equal(
    (await fetchRaw(t, proxy.port, { fields: validator })).status,
    200,
    'a node’s ETag counts for nothing',
  )
  const post = await fetchRaw(t, proxy.port, {
    method: 'POST',
    fields: 'If-None-Match: "app"\r\nContent-Length: 0\r\n',
  })
  t.equal(post.status, 200, 'other methods are not evaluated')
})

t.test('ranges are taken where they are valid and apply', async t => {
  const node = await fileNode(t, '0123456789')
  const proxy = await fileProxy(t, node.url(), {
    ports: [node.port],
    fields: { ETag: '"app"', 'Content-Type': 'a/b', 'Content-Range': 'bytes 0-0/1' },
  })
  const cases: [range: string, status: number, contentRange: string | undefined, body: string][] = [
    ['bytes=0-3', 206, 'bytes 0-3/10', '0123'],
    ['bytes=4-', 206, 'bytes 4-9/10', '456789'],
    ['bytes=0-', 206, 'bytes 0-9/10', '0123456789'],
    ['bytes=-3', 206, 'bytes 7-9/10', '789'],
    ['bytes=-30', 206, 'bytes 0-9/10', '0123456789'],
    ['bytes=5-99999999999999999999', 206, 'bytes 5-9/10', '56789'],
    ['Bytes=9-9', 206, 'bytes 9-9/10', '9'],
    ['bytes=10-', 416, 'bytes */10', ''],
    ['bytes=-0', 416, 'bytes */10', ''],
    ['bytes=5-2', 200, undefined, '0123456789'],
    ['bytes=a-b', 200, undefined, '0123456789'],
    ['bytes=', 200, undefined, '0123456789'],
    ['lines=0-3', 200, undefined, '0123456789'],
    ['bytes=0-3\r\nIf-Range: "app"', 206, 'bytes 0-3/10', '0123'],
    ['bytes=0-3\r\nIf-Range: "old"', 200, undefined, '0123456789'],
  ]
  for (const [range, status, contentRange, body] of cases) {
    const got = await fetchRaw(t, proxy.port, { fields: `Range: ${range}\r\n` })
    t.equal(got.status, status, range)
    t.equal(got.field('content-range'), contentRange, range)
    t.equal(got.body.toString(), body, range)
    t.equal(got.field('content-type'), 'a/b')
    t.equal(got.field('content-length'), String(body.length))
  }
  const missing = await fileProxy(t, node.url(), { ports: [node.port], status: 404 })
  const got = await fetchRaw(t, missing.port, { fields: 'Range: bytes=0-3\r\n' })
  t.equal(got.status, 404)
  t.equal(got.body.toString(), '0123456789', 'only 200, 204 and 206 become parts')
})

t.test('a node that ignores Range gives the whole file', async t => {
  const node = await rawPeer(t, ({ socket }) => void socket.write(ok('0123456789')))
  const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
  const got = await fetchRaw(t, proxy.port, { fields: 'Range: bytes=0-3\r\n' })
  t.equal(got.status, 200)
  t.equal(got.body.toString(), '0123456789')
})
