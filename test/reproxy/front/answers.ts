/** Requests, what the application answers to them, and what the client is to get. */
import { ok } from '../peers.ts'

/** The file that the nodes have. */
export const bytes = 'the bytes of a file, of which some are asked for'
const closed = 'http://127.0.0.1:1/dev1/x'

/** An answer of the application, by the nodes that it may name. */
export type AppAnswer = (nodes: { good: string; other: string }) => string

/** An answer that is passed on. */
export const plain = (status: string, fields = '', body = 'body'): AppAnswer => {
  const length = `Content-Length: ${body.length}\r\n`
  return () => `HTTP/1.1 ${status}\r\n${fields}${length}\r\n${body}`
}

const named = (fields: string, status = '200 OK'): AppAnswer => {
  const body = status.startsWith('204') || status.startsWith('304') ? '' : 'not shown'
  const length = body === '' ? '' : `Content-Length: ${body.length}\r\n`
  return ({ good, other }) =>
    `HTTP/1.1 ${status}\r\nX-Reproxy-URL: ${good}\r\n${length}${fields.replaceAll('OTHER', other)}\r\n${body}`
}

const listed = (list: string, fields = ''): AppAnswer => {
  return ({ good, other }) =>
    ok(
      'not shown',
      `X-Reproxy-URL: ${list.replaceAll('GOOD', good).replaceAll('OTHER', other)}\r\n${fields}`,
    )
}

/** What the client is to get. */
export interface Wanted {
  readonly status: number
  readonly body?: string
  /** Fields that the answer must have, and those that it must not have. */
  readonly fields?: Record<string, string | undefined>
}

const dated =
  'ETag: "v1"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: image/png\r\n'
const file = (status = 200): Wanted => ({ status, body: bytes })
const unavailable: Wanted = {
  status: 503,
  fields: { 'retry-after': '1', 'cache-control': 'no-store', 'set-cookie': undefined },
}

/** Rule, request fields, answer of the application, what the client gets. */
export const cases: readonly (readonly [
  rule: string,
  fields: string,
  answer: AppAnswer,
  wanted: Wanted,
])[] = [
  // What the application says itself.
  ...(['200 OK', '201 Made', '404 Gone Fishing', '500 No', '302 Found'] as const).map(
    status =>
      [
        `status ${status} and its reason pass`,
        '',
        plain(status, 'Location: /x\r\nX-Odd: a, b\r\n'),
        { status: Number(status.slice(0, 3)), body: 'body', fields: { location: '/x' } },
      ] as const,
  ),
  [
    'Set-Cookie lines stay apart',
    '',
    plain(
      '200 OK',
      'Set-Cookie: a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT\r\nset-cookie: b=2\r\n',
    ),
    { status: 200, fields: { 'set-cookie': 'a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT, b=2' } },
  ],
  [
    'the Date of the application is kept',
    '',
    plain('200 OK', 'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n'),
    { status: 200, fields: { date: 'Sun, 06 Nov 1994 08:49:37 GMT' } },
  ],
  [
    'there are never two Dates',
    '',
    plain(
      '200 OK',
      'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n',
    ),
    { status: 200, fields: { date: 'Sun, 06 Nov 1994 08:49:37 GMT' } },
  ],
  [
    '204 has neither length nor body',
    '',
    () => 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
    { status: 204, fields: { 'content-length': undefined, 'transfer-encoding': undefined } },
  ],
  [
    '304 passes',
    'If-None-Match: "v1"\r\n',
    () => 'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n',
    { status: 304, fields: { etag: '"v1"', 'transfer-encoding': undefined } },
  ],
  [
    'chunks pass',
    '',
    () =>
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\none\r\n3\r\ntwo\r\n0\r\nT: 1\r\n\r\n',
    { status: 200, body: 'onetwo', fields: { 'content-length': undefined } },
  ],
  [
    'what is meant for proxies is not shown',
    '',
    plain(
      '200 OK',
      'Connection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=99\r\nX-Reproxy-Expected-Size: 4\r\nX-Accel-Redirect: /x\r\nX-Sendfile: /x\r\nVia: 1.1 inner\r\nX-Request-Id: theirs\r\n',
    ),
    {
      status: 200,
      fields: {
        'x-inner': undefined,
        'x-reproxy-expected-size': undefined,
        'x-accel-redirect': undefined,
        'x-sendfile': undefined,
        via: '1.1 inner, 1.1 edge',
      },
    },
  ],
  ['no HTTP is 502', '', () => 'nonsense\r\n\r\n', { status: 502 }],
  ['two lengths are 502', '', plain('200 OK', 'Content-Length: 1\r\n'), { status: 502 }],
  [
    'a request that was here before is 508',
    'Via: 1.0 x, 1.1 EDGE\r\n',
    plain('200 OK'),
    { status: 508 },
  ],
  [
    'what a client may not say is removed',
    'X-Reproxy-URL: http://x/\r\nX-Accel-Redirect: /x\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Proxy-Capabilities: x\r\nX-Request-Id: mine\r\nForwarded: for=x\r\nTE: trailers, deflate\r\nKeep-Alive: 5\r\n',
    plain('200 OK'),
    { status: 200, body: 'body' },
  ],
  // Which directive counts.
  [
    'names of fields in any letter case',
    '',
    ({ good }) =>
      ok('no', `x-REPROXY-url: ${good}\r\nX-reproxy-EXPECTED-size: ${bytes.length}\r\n`),
    file(),
  ],
  [
    'File comes before URL',
    '',
    named('X-Reproxy-File: /etc/hosts\r\nSet-Cookie: a=b\r\n'),
    { status: 404, fields: { 'set-cookie': undefined } },
  ],
  ['URL comes before Service', '', named('X-Reproxy-Service: none\r\n'), file()],
  ['an unknown service is 404', '', () => ok('no', 'X-Reproxy-Service: none\r\n'), { status: 404 }],
  [
    'an empty URL is absent',
    '',
    () => ok('app', 'X-Reproxy-URL: \r\nX-Reproxy-Service:\r\nX-Reproxy-File: \t\r\n'),
    { status: 200, body: 'app' },
  ],
  // The list.
  [
    'any blanks stand between URLs, and what is none is skipped',
    '',
    listed('\t ftp://x/ /dev1/x  HTTPS://x/ \t GOOD '),
    file(),
  ],
  ['several lines are one list', '', listed(`${closed}\r\nX-Reproxy-URL: GOOD`), file()],
  ['a list with nothing usable is 503', '', listed('ftp://x/ gopher:'), unavailable],
  [
    'when all fail it is 503, with nothing of the application',
    '',
    listed(`${closed} OTHER`, 'Set-Cookie: a=b\r\n'),
    unavailable,
  ],
  ['a status other than 2xx has the next one asked', '', listed('OTHER GOOD'), file()],
  [
    'a replica of another size is passed over',
    '',
    listed('GOOD', 'X-Reproxy-Expected-Size: 3\r\n'),
    unavailable,
  ],
  [
    'an expected size that is not digits is ignored',
    '',
    listed('GOOD', 'X-Reproxy-Expected-Size: 3x\r\n'),
    file(),
  ],
  // Status and fields.
  ...(
    [
      ['200 OK', 200],
      ['201 Made', 201],
      ['204 No Content', 200],
      ['206 Partial Content', 200],
      ['403 Forbidden', 403],
      ['404 Not Found', 404],
    ] as const
  ).map(
    ([status, shown]) =>
      [`the file of a ${status} is ${shown}`, '', named('', status), file(shown)] as const,
  ),
  [
    'fields are the application’s, length and ranges the file’s',
    '',
    named(
      `${dated}Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Disposition: inline\r\nServer: app\r\n`,
    ),
    {
      status: 200,
      body: bytes,
      fields: {
        'content-type': 'image/png',
        etag: '"v1"',
        'set-cookie': 'a=1, b=2',
        'content-disposition': 'inline',
        server: 'app',
        'accept-ranges': 'bytes',
        'content-length': String(bytes.length),
        'x-node': undefined,
      },
    },
  ],
  [
    'of the node’s own fields none is shown',
    '',
    named(''),
    {
      status: 200,
      body: bytes,
      fields: { 'content-type': undefined, etag: undefined, 'x-node': undefined },
    },
  ],
  // Ranges and conditions.
  ...(
    [
      ['bytes=4-8', 206, 'bytes', 'bytes 4-8/48'],
      ['bytes=44-', 206, ' for', 'bytes 44-47/48'],
      ['bytes=-3', 206, 'for', 'bytes 45-47/48'],
      ['bytes=-99', 206, bytes, 'bytes 0-47/48'],
      ['bytes=0-', 206, bytes, 'bytes 0-47/48'],
      ['bytes=46-99', 206, 'or', 'bytes 46-47/48'],
      ['bytes=48-', 416, '', 'bytes */48'],
      ['bytes=8-4', 200, bytes, undefined],
      ['items=0-1', 200, bytes, undefined],
    ] as const
  ).map(
    ([range, status, body, contentRange]) =>
      [
        `Range: ${range}`,
        `Range: ${range}\r\n`,
        named(dated),
        { status, body, fields: { 'content-range': contentRange, etag: '"v1"' } },
      ] as const,
  ),
  [
    'a range survives a replica that fails',
    'Range: bytes=4-8\r\n',
    listed('OTHER GOOD'),
    { status: 206, body: 'bytes' },
  ],
  [
    'a 404 of the application keeps the whole file',
    'Range: bytes=4-8\r\n',
    named(dated, '404 No'),
    file(404),
  ],
  [
    'If-None-Match',
    'If-None-Match: W/"v1"\r\n',
    named(dated),
    { status: 304, fields: { etag: '"v1"', 'content-type': undefined } },
  ],
  [
    'If-Modified-Since',
    'If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n',
    named(dated),
    { status: 304 },
  ],
  ['If-Match', 'If-Match: "v2"\r\n', named(dated), { status: 412, fields: { etag: undefined } }],
  [
    'If-Range that fits',
    'Range: bytes=4-8\r\nIf-Range: "v1"\r\n',
    named(dated),
    { status: 206, body: 'bytes' },
  ],
  ['If-Range that does not', 'Range: bytes=4-8\r\nIf-Range: "v2"\r\n', named(dated), file()],
  [
    'a 304 with a list is bare',
    '',
    named(dated, '304 Not Modified'),
    { status: 304, fields: { etag: '"v1"' } },
  ],
]
