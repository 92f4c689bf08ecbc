import t from 'tap'
import { parseHotHead } from '../../storage-node/lane/request-head.ts'

const path = '/dev1/0/000/000/0000000007.fid'
const head = (line: string, ...fields: string[]): string => [line, ...fields, '', ''].join('\r\n')
const get = (...fields: string[]): string => head(`GET ${path} HTTP/1.1`, 'Host: a', ...fields)
const put = (...fields: string[]): string => head(`PUT ${path} HTTP/1.1`, 'Host: a', ...fields)

void t.test('what nearly all requests look like is read', t => {
  t.match(parseHotHead(get('User-Agent: x', 'Accept: */*', 'X-Any: \xe9')), {
    method: 'GET',
    replica: { devid: 1, fid: 7 },
    path: '0/000/000/0000000007.fid',
    keepAlive: true,
    oldClient: false,
    length: 0,
  })
  t.equal(parseHotHead(get('Connection: close'))?.keepAlive, false)
  t.equal(parseHotHead(get('connection: Keep-Alive'))?.keepAlive, true)
  t.equal(parseHotHead(get('Range: bytes=1-2'))?.range, 'bytes=1-2')
  t.equal(parseHotHead(put('Content-Length: 12'))?.length, 12)
  t.equal(parseHotHead(head(`HEAD ${path}?12.ab-c_ HTTP/1.1`, 'Host: a'))?.token, '12.ab-c_')
  const old = parseHotHead(head(`GET ${path} HTTP/1.0`))
  t.match(old, { keepAlive: false, oldClient: true }, 'HTTP/1.0 needs no Host')
  t.equal(parseHotHead(head(`GET ${path} HTTP/1.0`, 'Connection: keep-alive'))?.keepAlive, true)
  t.end()
})

const others: [what: string, head: string][] = [
  ['another verb', head(`DELETE ${path} HTTP/1.1`, 'Host: a')],
  ['another path', head('GET /dev1/usage HTTP/1.1', 'Host: a')],
  [
    'a path that does not fit its number',
    head('GET /dev1/0/000/001/0000000007.fid HTTP/1.1', 'Host: a'),
  ],
  ['a double slash', head(`GET /${path} HTTP/1.1`, 'Host: a')],
  [
    'a device number beyond 31 bits',
    head(`GET ${path.replace('dev1', 'dev9999999999')} HTTP/1.1`, 'Host: a'),
  ],
  ['another version', head(`GET ${path} HTTP/1.2`, 'Host: a')],
  ['no Host', head(`GET ${path} HTTP/1.1`)],
  ['two Hosts', get('Host: a')],
  ['a Host that is none', head(`GET ${path} HTTP/1.1`, 'Host: a b')],
  ['a bare LF', `GET ${path} HTTP/1.1\r\nHost: a\nX: b\r\n\r\n`],
  ['a bare CR', get('X: a\rb')],
  ['a NUL', get('X: a\0b')],
  ['a folded line', get('X: a', ' b')],
  ['a space before the colon', get('X : a')],
  ['a line without a colon', get('nonsense')],
  ['a body on GET', get('Content-Length: 3')],
  ['a transfer coding', put('Transfer-Encoding: chunked')],
  ['both lengths', put('Content-Length: 3', 'Transfer-Encoding: chunked')],
  ['two lengths', put('Content-Length: 3', 'Content-Length: 3')],
  ...['', '+3', '3, 3', '0x3', '-1', '9007199254740992'].map((length): [string, string] => [
    `length "${length}"`,
    put(`Content-Length: ${length}`),
  ]),
  ['a PUT without a length', put()],
  ['an expectation', put('Content-Length: 3', 'Expect: 100-continue')],
  ['a digest to compare', put('Content-Length: 3', 'Content-MD5: x')],
  ['a part', put('Content-Length: 3', 'Content-Range: bytes 0-2/9')],
  ['a digest that is wanted', get('Want-Repr-Digest: sha-256')],
  ['a condition', get('If-Modified-Since: x')],
  ['an upgrade', get('Connection: upgrade', 'Upgrade: h2c')],
  ['too many fields', get(...Array.from({ length: 120 }, () => 'X-A: b'))],
]

void t.test('anything else is left to the parser that knows how to refuse', t => {
  for (const [what, text] of others) t.equal(parseHotHead(text), undefined, what)
  t.end()
})
