import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { checkReceipt, hostKeys, signGrant } from '../../common/signing.ts'
import { exchange, keys, secret, signed, startNode, statusAndCode, type TestNode } from './node.ts'

const replica = { devid: 1, fid: 7 }
const path = replicaPath(replica)
const H = 'Host: a\r\n'
const put = (lines: string, body = ''): string => `PUT ${path} HTTP/1.1\r\n${H}${lines}\r\n${body}`
const get = (lines: string): string => `GET ${path} HTTP/1.1\r\n${H}${lines}\r\n`
const chunked = (body: string): string => put('Transfer-Encoding: chunked\r\n', body)

const framing: [what: string, sent: string, answer: string][] = [
  ['both lengths', put('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), '400'],
  [
    'both, reversed',
    put('Transfer-Encoding: chunked\r\nContent-Length: 3\r\n', '0\r\n\r\n'),
    '400',
  ],
  ['two lengths', put('Content-Length: 3\r\nContent-Length: 4\r\n', 'abcd'), '400'],
  ['the same length twice', put('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc'), '400'],
  ...['3, 3', '+3', '-3', '0x3', '3x', '', '9007199254740992'].map(
    (length): [string, string, string] => [
      `length "${length}"`,
      put(`Content-Length: ${length}\r\n`, 'abc'),
      '400',
    ],
  ),
  ...['xchunked', 'chunked, identity', 'identity', 'gzip, chunked', ''].map(
    (coding): [string, string, string] => [
      `coding "${coding}"`,
      put(`Transfer-Encoding: ${coding}\r\n`, '0\r\n\r\n'),
      '400',
    ],
  ),
  ['two codings', put('Transfer-Encoding: chunked\r\n'.repeat(2), '0\r\n\r\n'), '400'],
  [
    'a coding in HTTP/1.0',
    `PUT ${path} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    '400',
  ],
  ['chunk size not hex', chunked('zz\r\nabc\r\n0\r\n\r\n'), '400'],
  ['chunk size negative', chunked('-3\r\nabc\r\n0\r\n\r\n'), '400'],
  ['chunk size of 17 digits', chunked('10000000000000003\r\nabc\r\n0\r\n\r\n'), '400'],
  ['chunk size before bare LF', chunked('3\nabc\r\n0\r\n\r\n'), '400'],
  ['chunk longer than its size', chunked('3\r\nabcd\r\n0\r\n\r\n'), '400'],
  ['chunk extension too long', chunked(`3;a=${'x'.repeat(17_000)}\r\nabc\r\n0\r\n\r\n`), '413'],
  ['bare LF', `GET / HTTP/1.1\nHost: a\n\n`, '400'],
  ['bare LF in a field', get('X: y\nZ: y\r\n'), '400'],
  ['bare CR in a field', get('X: y\rz\r\n'), '400'],
  ['NUL in a value', get('X: a\0b\r\n'), '400'],
  ['folded line', get('X: a\r\n b\r\n'), '400'],
  ['space before colon', get('X : a\r\n'), '400'],
  ['white space before the first field', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', '400'],
  ['no colon', get('Xyz\r\n'), '400'],
  ['empty name', get(': v\r\n'), '400'],
  ['illegal name', get('X(y: v\r\n'), '400'],
  ['no Host in HTTP/1.1', `GET ${path} HTTP/1.1\r\n\r\n`, '400'],
  ['two Hosts', get('Host: a\r\n'), '400'],
  ['Host that is none', `GET ${path} HTTP/1.1\r\nHost: a b/c\r\n\r\n`, '400'],
  ['HTTP/2.0', `GET ${path} HTTP/2.0\r\n${H}\r\n`, '505'],
  ['HTTP/3.7', `GET ${path} HTTP/3.7\r\n${H}\r\n`, '505'],
  ['no version', `GET ${path}\r\n${H}\r\n`, '400'],
  ['head too large', get(`X: ${'a'.repeat(33 * 1024)}\r\n`), '431'],
  ['too many lines', get('X: a\r\n'.repeat(201)), '431'],
  ['target too long', `GET /${'a'.repeat(8200)} HTTP/1.1\r\n${H}\r\n`, '414'],
  ['target far too long', `GET /${'a'.repeat(40_000)} HTTP/1.1\r\n${H}\r\n`, '414'],
  ['space in the target', `GET /dev1/a b HTTP/1.1\r\n${H}\r\n`, '400'],
  ['control character in the target', `GET /dev1/a\x01b HTTP/1.1\r\n${H}\r\n`, '400'],
  ['raw byte in the target', `GET /dev1/a\xe9b HTTP/1.1\r\n${H}\r\n`, '400'],
  ['fragment in the target', `GET /dev1/a#b HTTP/1.1\r\n${H}\r\n`, '400'],
  ['relative target', `GET dev1/a HTTP/1.1\r\n${H}\r\n`, '400'],
  ['absolute target', `GET http://a${path} HTTP/1.1\r\n${H}\r\n`, '400'],
  ['CONNECT', `CONNECT a:1 HTTP/1.1\r\n${H}\r\n`, '405'],
  ['a verb that nobody knows', `FOO ${path} HTTP/1.1\r\n${H}\r\n`, '400'],
  ['unknown expectation', put('Expect: 200-ok\r\nContent-Length: 3\r\n', 'abc'), '417'],
  ['TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', '400'],
  ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '400'],
]

void t.test('broken framing is refused, closes the connection and changes nothing', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'as it was' })
  for (const [what, sent, expected] of framing) {
    const answer = await exchange(node.port, sent)
    t.equal(statusAndCode(answer).slice(0, 3), expected, what)
    t.match(answer, /\r\nconnection: close\r\n/i, what)
    t.match(answer, /"code":"\w+","error":"[^"]+","message":"/, what)
    t.equal((await node.send('GET', path)).body.toString(), 'as it was', what)
  }
})

void t.test('what is too long is told by its name, however it comes', async t => {
  const node = await startNode(t)
  const heads: [what: string, sent: string, answer: string][] = [
    ['a field', get(`X: ${'a'.repeat(40_000)}\r\n`), '431 headers_too_large'],
    ['a target', `GET /${'a'.repeat(40_000)} HTTP/1.1\r\n${H}\r\n`, '414 uri_too_long'],
  ]
  for (const [what, sent, expected] of heads) {
    for (const size of [1_000, 20_000]) {
      const socket = connect(node.port, '127.0.0.1')
        .setNoDelay(true)
        .on('error', () => {})
      const answer = text(socket)
      for (let at = 0; at < sent.length && socket.writable; at += size) {
        socket.write(sent.slice(at, at + size))
        await new Promise(resolve => setTimeout(resolve, 1))
      }
      t.equal(statusAndCode(await answer), expected, `${what}, in pieces of ${size}`)
    }
  }
})

void t.test('field names that objects have are ordinary unknown fields', async t => {
  const node = await startNode(t)
  const lines = '__proto__: a\r\nconstructor: b\r\ntoString: c\r\nConnection: close\r\n'
  t.equal(statusAndCode(await exchange(node.port, get(lines))), '404 not_found')
})

/** Method and target, and what is answered. */
const targets: [request: string, answer: string][] = [
  ...['GET', 'PUT', 'DELETE', 'MKCOL'].flatMap((method): [string, string][] =>
    [
      '/dev1/../dev2/x',
      '/dev1/%2e%2e/x',
      '/dev1/..%2fx',
      '/dev1/%252e',
      '/dev1/a\\b',
      '/dev1/a;b',
      '/dev1/a//b',
      '/dev1/a%00',
      '/dev1/a%20b',
      `/dev1/${'a'.repeat(256)}`,
      `/dev1/${'a/'.repeat(520)}a`,
      '/dev-1/a',
      '/x',
      '/dev1/0/000/001/0000000007.fid',
    ].map(target => [`${method} ${target}`, '400 bad_path']),
  ),
  ['GET /dev01/a', '404 no_such_device'],
  ['GET /dev99999999999/a', '404 no_such_device'],
  ['PUT /dev9/a', '404 no_such_device'],
  ['PUT /dev1', '400 bad_path'],
  ['PUT /dev1/', '400 bad_path'],
  ['PUT /dev1/0/', '400 bad_path'],
  ['PUT /', '400 bad_path'],
  ['PUT /dev1/.a', '400 bad_path'],
  ['PUT /dev1/.tmp/a', '400 bad_path'],
  ['PUT /dev1/file/below', '400 bad_path'],
  ['DELETE /', '400 bad_path'],
  ['DELETE /dev1', '400 bad_path'],
  ['DELETE /dev1/directory', '400 bad_path'],
  ['DELETE /dev1/directory/', '400 bad_path'],
  ['DELETE /dev1/file/below', '404 not_found'],
  ['GET /dev1', '403 not_regular'],
  ['GET /dev1/directory', '403 not_regular'],
  ['GET /dev1/directory/', '403 not_regular'],
  ['GET /dev1/file/below', '404 not_found'],
  ['GET /dev1/.tmp', '404 not_found'],
  ['MKCOL /dev1/0/000/000/', '400 bad_request'],
  ['MOVE /dev1/file', '405 method_not_allowed'],
  ['PROPFIND /dev1/file', '405 method_not_allowed'],
  ['LOCK /dev1/file', '405 method_not_allowed'],
  ['PROPPATCH /dev1/file', '405 method_not_allowed'],
  ['POST /dev1/file', '405 method_not_allowed'],
  ['TRACE /dev1/file', '405 method_not_allowed'],
  ['OPTIONS /dev1/../x', '400 bad_path'],
]

const names = (node: TestNode): string[] =>
  (readdirSync(node.root, { recursive: true }) as string[]).sort()

void t.test(
  'a path outside the grammar names nothing, and no request makes a directory of it',
  async t => {
    const node = await startNode(t)
    mkdirSync(join(node.root, 'dev1', 'directory'))
    writeFileSync(join(node.root, 'dev1', 'file'), 'x')
    const before = names(node)
    for (const [request, expected] of targets) {
      const body = /^(PUT|MKCOL|MOVE|PROP|LOCK|POST)/.test(request) ? 'Content-Length: 1\r\n' : ''
      const head = `${request} HTTP/1.1\r\n${H}${body}Connection: close\r\n\r\n`
      t.equal(statusAndCode(await exchange(node.port, head + (body && 'x'))), expected, request)
      t.same(names(node), before, request)
    }
  },
)

void t.test('a PUT must say how long it is, and be whole', async t => {
  const node = await startNode(t)
  t.equal(
    statusAndCode(await exchange(node.port, put('Connection: close\r\n'))),
    '411 length_required',
  )
  const huge = put('Content-Length: 9007199254740991\r\n')
  t.equal(statusAndCode(await exchange(node.port, huge)), '507 insufficient_storage')
  const typed = { body: 'x', headers: { 'content-type': 'not / a type;;' } }
  t.equal((await node.send('PUT', path, typed)).status, 201, 'the type does not matter')
})

void t.test('without its very own token nothing can be done', async t => {
  const node = await startNode(t, { secret })
  await node.send('PUT', signed('PUT', replica), { body: 'as it was' })
  const now = Math.floor(Date.now() / 1000)
  const token = (grant: object, expires = now + 60, by = keys): string =>
    signGrant(by, { method: 'GET', devid: 1, object: '7', ...grant }, expires)
  const good = token({})
  const refused: [what: string, target: string, code: string][] = [
    ['absent', path, 'bad_token'],
    ['empty', `${path}?`, 'bad_token'],
    ['of another method', `${path}?${token({ method: 'PUT' })}`, 'bad_token'],
    ['of another device', `${path}?${token({ devid: 2 })}`, 'bad_token'],
    ['of another fid', `${path}?${token({ object: '8' })}`, 'bad_token'],
    ['of another secret', `${path}?${token({}, now + 60, hostKeys('y'.repeat(32)))}`, 'bad_token'],
    ['expired', `${path}?${token({}, now - 61)}`, 'token_expired'],
    ['too short', `${path}?${good.slice(0, -1)}`, 'bad_token'],
    ['too long', `${path}?${good}a`, 'bad_token'],
    ['not base64url', `${path}?${good.slice(0, -1)}+`, 'bad_token'],
    ['given twice', `${path}?${good}&${good}`, 'bad_token'],
    ['given twice, other spelling', `${path}?${good}?${good}`, 'bad_token'],
    ['with another expiry', `${path}?${good.replace(/^\d+/, String(now + 61))}`, 'bad_token'],
    ['on a device that is not here', '/dev9/usage', 'bad_token'],
  ]
  for (const [what, target, code] of refused) {
    const answer = await node.send('GET', target)
    t.match(answer, { status: 403, code, headers: { connection: 'close' } }, what)
  }
  for (const method of ['PUT', 'DELETE']) {
    const answer = await node.send(method, `${path}?${good}`)
    t.match(answer, { status: 403, code: 'bad_token' }, `a token for GET on ${method}`)
  }
  const get = await node.send('GET', `${path}?${good}`)
  t.match(get, { status: 200 })
  t.equal(get.body.toString(), 'as it was')
  t.match(await node.send('HEAD', `${path}?${good}`), { status: 200 }, 'GET covers HEAD')
  t.match(
    await node.send('GET', `${path}?${token({}, now - 30)}`),
    { status: 200 },
    'within the skew',
  )
  const usage = await node.send('GET', `/dev1/usage?${token({ object: 'usage' })}`)
  t.match(usage, { status: 200 })
  const probe = `/dev1/test-write/test-write-1?${token({ method: 'PUT', object: 'test-write/test-write-1' })}`
  t.equal((await node.send('PUT', probe, { body: '1' })).status, 201)
  t.equal((await node.send('PUT', probe, { body: '2' })).status, 201)
})

void t.test('while secrets change, both count, and the new one signs', async t => {
  const node = await startNode(t, { secret: 'n'.repeat(32), previousSecret: secret })
  const newest = hostKeys('n'.repeat(32))
  const expires = Math.floor(Date.now() / 1000) + 60
  const grant = { method: 'PUT', devid: 1, object: '7' } as const
  for (const target of [signed('PUT', replica), `${path}?${signGrant(newest, grant, expires)}`]) {
    const { status, headers } = await node.send('PUT', target, { body: 'x' })
    t.equal(status, 201)
    t.ok(checkReceipt([newest], String(headers['omg-receipt'])))
  }
})
