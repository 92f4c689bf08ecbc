import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { contents, openSql } from '../database.ts'
import { createCall, putFile, type CallOptions } from './calls.ts'

const mebibyte = 1024 * 1024
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const uploads = 'POST /v1/domains/test/uploads'
const commits = 'POST /v1/domains/test/uploads/1.1/commit'
const domains = 'POST /v1/domains'
const hosts = 'POST /v1/hosts'
const devices = 'POST /v1/devices'
const file = '/v1/domains/test/files/file'
const type = (contentType: string): CallOptions => ({
  body: '{"name":"new"}',
  headers: { 'content-type': contentType },
})
const host = { name: 'new', ip: '127.0.0.9', port: 7500 }
const metadata = (values: unknown): CallOptions => ({ json: { key: 'k', metadata: values } })

const rows: [what: string, route: string, options: CallOptions, answer: string, names?: RegExp][] =
  [
    ['broken JSON', domains, { body: '{"name":' }, '400 bad_request'],
    ['an empty body', domains, { body: '' }, '400 bad_request'],
    ['JSON that is no object', domains, { body: '"x"' }, '400 bad_request'],
    ['null', domains, { body: 'null' }, '400 bad_request'],
    ['33 levels', domains, { body: nested(33) }, '400 bad_request', /32 levels/],
    ['100,000 levels', domains, { body: nested(100_000) }, '400 bad_request'],
    [
      '__proto__ as a name',
      domains,
      { body: '{"name":"x","__proto__":{"a":1}}' },
      '400 bad_request',
    ],
    [
      'a deep __proto__',
      uploads,
      { body: '{"key":"k","metadata":{"__proto__":"1"}}' },
      '400 bad_request',
    ],
    ['constructor as a name', uploads, metadata({ constructor: 'x' }), '400 bad_request'],
    ['JSON over 1 MiB', domains, { json: { name: 'x'.repeat(mebibyte) } }, '413 payload_too_large'],
    ['text', domains, type('text/plain'), '415 unsupported_media_type'],
    ['a form', domains, type('application/x-www-form-urlencoded'), '415 unsupported_media_type'],
    ['a broken type', domains, type('application/json x'), '415 unsupported_media_type'],
    ['an empty type', domains, type(''), '415 unsupported_media_type'],
    ['half a surrogate pair', domains, { body: '{"name":"\\ud800"}' }, '400 bad_request'],
    ['half a pair in metadata', uploads, metadata({ a: '\udc00' }), '400 bad_request'],

    ['an unknown property', domains, { json: { name: 'x', size: 1 } }, '400 bad_request', /size/],
    ['a missing property', domains, { json: {} }, '400 bad_request', /name/],
    ['a wrong type', uploads, { json: { key: 'k', size: '5' } }, '400 bad_request', /size/],
    ['a size below 0', uploads, { json: { key: 'k', size: -1 } }, '400 bad_request', /size/],
    ['a size of 1.5', uploads, { json: { key: 'k', size: 1.5 } }, '400 bad_request', /size/],
    ['a size of 2^53', uploads, { json: { key: 'k', size: 2 ** 53 } }, '400 bad_request', /size/],
    ['a size of 1e999', uploads, { body: '{"key":"k","size":1e999}' }, '400 bad_request', /size/],
    [
      'a commit of 2^53 bytes',
      commits,
      { json: { copies: [{ devid: 1 }], size: 2 ** 53 } },
      '400 bad_request',
      /size/,
    ],
    [
      'an unknown durability',
      uploads,
      { json: { key: 'k', durability: 'most' } },
      '400 bad_request',
      /durability/,
    ],
    ['an unknown class', uploads, { json: { key: 'k', class: 'none' } }, '400 unreg_class'],
    ['no key', uploads, { json: {} }, '400 no_key'],
    ['an empty key', uploads, { json: { key: '' } }, '400 no_key'],
    ['a key that is too long', uploads, { json: { key: 'x'.repeat(1025) } }, '400 key_too_long'],
    [
      'bytes that are no base64url',
      uploads,
      { json: { keyBytes: '+/=' } },
      '400 bad_request',
      /keyBytes/,
    ],
    [
      'an unknown domain',
      'POST /v1/domains/none/uploads',
      { json: { key: 'k' } },
      '404 unreg_domain',
    ],
    ['a domain with NUL', 'GET /v1/domains/%00/files', {}, '404 unreg_domain'],

    ['metadata over 8 KiB', uploads, metadata({ a: 'x'.repeat(8192) }), '400 bad_metadata'],
    ['a line break in metadata', uploads, metadata({ a: 'x\r\ny: z' }), '400 bad_metadata'],
    ['a line break in a metadata name', uploads, metadata({ 'a\n': 'x' }), '400 bad_metadata'],
    ['NUL in metadata', uploads, metadata({ a: '\0' }), '400 bad_metadata'],
    [
      'a line break in a content type',
      uploads,
      { json: { key: 'k', contentType: 'a\nb' } },
      '400 bad_metadata',
    ],
    [
      'NUL in a changed content type',
      `PATCH ${file}`,
      { json: { contentType: 'a\0' } },
      '400 bad_metadata',
    ],
    ['a change to no class', `PATCH ${file}`, { json: { class: 'none' } }, '404 class_not_found'],
    ['a change of nothing', `PATCH ${file}`, { json: {} }, '400 bad_request'],

    ['a key of %zz', 'GET /v1/domains/test/files/%zz', {}, '400 bad_request'],
    ['a key that ends in %', 'DELETE /v1/domains/test/files/a%', {}, '400 bad_request'],
    ['?key=%zz', 'GET /v1/domains/test/files/?key=%zz', {}, '400 bad_request'],
    ['two keys', `DELETE /v1/domains/test/files/?key=file&key=b`, {}, '400 bad_request'],
    ['no key in the path', 'DELETE /v1/domains/test/files/', {}, '400 no_key'],
    ['an empty ?key=', 'GET /v1/domains/test/files/?key=', {}, '400 no_key'],
    [
      'a long key in the path',
      `GET /v1/domains/test/files/${'x'.repeat(1025)}`,
      {},
      '400 key_too_long',
    ],
    [
      'rename onto a key',
      'POST /v1/domains/test/rename',
      { json: { from: 'file', to: 'other' } },
      '409 key_exists',
    ],
    [
      'rename from nothing',
      'POST /v1/domains/test/rename',
      { json: { from: 'none', to: 'x' } },
      '404 unknown_key',
    ],
    ['rename to nothing', 'POST /v1/domains/test/rename', { json: { from: 'file' } }, '400 no_key'],
    [
      'rename to a long key',
      'POST /v1/domains/test/rename',
      { json: { from: 'file', to: 'x'.repeat(1025) } },
      '400 key_too_long',
    ],

    ...['0', '-1', 'abc', '1001', '1000000000', '1e999', '', '2&limit=3'].map(
      (limit): (typeof rows)[number] => [
        `limit=${limit}`,
        `GET /v1/domains/test/files?limit=${limit}`,
        {},
        '400 bad_request',
        /limit/,
      ],
    ),
    ['a cursor of %zz', 'GET /v1/domains/test/files?after=%zz', {}, '400 bad_request'],
    [
      'a long cursor',
      `GET /v1/domains/test/files?after=${'x'.repeat(1025)}`,
      {},
      '400 bad_request',
    ],
    ['an empty delimiter', 'GET /v1/domains/test/files?delimiter=', {}, '400 bad_request'],

    [
      'an upload that is none',
      'POST /v1/domains/test/uploads/x/commit',
      { json: { copies: [{ devid: 1 }] } },
      '404 no_upload',
    ],
    [
      'an upload number of 16 digits',
      'DELETE /v1/domains/test/uploads/9999999999999999.9999',
      {},
      '404 no_upload',
    ],
    ['a commit of no copies', commits, { json: { copies: [] } }, '400 bad_request', /copies/],
    [
      'a commit of 17 copies',
      commits,
      { json: { copies: Array(17).fill({ devid: 1 }) } },
      '400 bad_request',
      /copies/,
    ],
    [
      'a short SHA-256',
      commits,
      { json: { copies: [{ devid: 1 }], sha256: 'ab' } },
      '400 bad_request',
      /sha256/,
    ],

    ['a domain name with NUL', domains, { json: { name: 'a\0' } }, '400 bad_request', /name/],
    ['an empty domain name', domains, { json: { name: '' } }, '400 bad_request', /name/],
    [
      'a class of 0 copies',
      'POST /v1/domains/test/classes',
      { json: { name: 'x', mindevcount: 0 } },
      '400 bad_request',
      /mindevcount/,
    ],
    [
      'an unknown policy',
      'POST /v1/domains/test/classes',
      { json: { name: 'x', replpolicy: 'Evil(1)' } },
      '400 invalid_replpolicy',
    ],
    [
      'an unknown hashtype',
      'POST /v1/domains/test/classes',
      { json: { name: 'x', hashtype: 'CRC' } },
      '400 bad_request',
      /hashtype/,
    ],
    [
      'a class of no domain',
      'POST /v1/domains/none/classes',
      { json: { name: 'x' } },
      '404 domain_not_found',
    ],
    ['an ip that is none', hosts, { json: { ...host, ip: 'localhost' } }, '400 bad_params'],
    ['an altip that is none', hosts, { json: { ...host, altip: '127.0.0.300' } }, '400 bad_params'],
    [
      'NUL in an altmask',
      hosts,
      { json: { ...host, altmask: '\0' } },
      '400 bad_request',
      /altmask/,
    ],
    ['NUL in a zone', hosts, { json: { ...host, zone: '\0' } }, '400 bad_request', /zone/],
    ['port 0', hosts, { json: { ...host, port: 0 } }, '400 bad_request', /port/],
    ['port 65536', hosts, { json: { ...host, port: 65536 } }, '400 bad_request', /port/],
    [
      'an unknown host status',
      hosts,
      { json: { ...host, status: 'sleepy' } },
      '400 bad_request',
      /status/,
    ],
    ['the key of a host with NUL', 'GET /v1/hosts/%00/key', {}, '400 bad_request'],
    ['device 0', devices, { json: { devid: 0, host: 'node1' } }, '400 bad_request', /devid/],
    [
      'device 2^31',
      devices,
      { json: { devid: 2 ** 31, host: 'node1' } },
      '400 bad_request',
      /devid/,
    ],
    [
      'a weight below 0',
      'PATCH /v1/devices/1',
      { json: { weight: -1 } },
      '400 bad_request',
      /weight/,
    ],
    [
      'a device by name',
      'PATCH /v1/devices/one',
      { json: { weight: 1 } },
      '400 bad_request',
      /devid/,
    ],
    ['device 10^11', 'PATCH /v1/devices/100000000000', { json: { weight: 1 } }, '404 no_device'],
    ['token 10^11', 'DELETE /v1/tokens/100000000000', {}, '400 bad_request', /id/],
    ['an unknown token', 'DELETE /v1/tokens/4711', {}, '404 token_not_found'],
    [
      'a read token of no domain',
      'POST /v1/tokens',
      { json: { name: 'x', scope: 'read' } },
      '400 bad_request',
    ],
    [
      'an admin token of a domain',
      'POST /v1/tokens',
      { json: { name: 'x', scope: 'admin', domain: 'test' } },
      '400 bad_request',
    ],
    [
      'a token of an unknown domain',
      'POST /v1/tokens',
      { json: { name: 'x', scope: 'read', domain: 'none' } },
      '404 unreg_domain',
    ],
    [
      'an unknown setting',
      'PUT /v1/settings/constructor',
      { json: { value: '1' } },
      '400 not_writable',
    ],
    [
      'a setting of 10 digits',
      'PUT /v1/settings/upload_seconds',
      { json: { value: '1234567890' } },
      '400 invalid_format',
    ],
    [
      'SQL for a name',
      `GET /v1/domains/${encodeURIComponent("'; drop table file;--")}/files`,
      {},
      '404 unreg_domain',
    ],
    [
      'SQL for a key',
      `GET /v1/domains/test/files/${encodeURIComponent("'; drop table file;--")}`,
      {},
      '404 unknown_key',
    ],
    ['no route', 'GET /v1/nothing', {}, '404 not_found'],
    ['a broken escape in a route', 'GET /v1/%zz', {}, '400 bad_request'],
  ]

t.test('bad input gets its answer and changes nothing', async t => {
  const cluster = await startCluster(t, { hosts: 1, classes: { single: 1 } })
  const call = createCall(cluster.http, cluster.token)
  const sql = await openSql(t, cluster.databaseUrl)
  for (const key of ['file', 'other']) await putFile(call, { key }, 'hello', { class: 'single' })
  const before = await contents(sql)

  for (const [what, route, options, expected, names] of rows) {
    t.test(`${what} is ${expected}`, async t => {
      const [method = '', path = ''] = route.split(' ')
      const answer = await call(method, path, options)
      t.equal(`${answer.status} ${answer.code}`, expected)
      t.match(answer.json(), { statusCode: answer.status, error: String, message: String })
      if (names) t.match(answer.json()['message'], names)
      t.strictSame(await contents(sql), before)
      t.equal((await call('GET', file)).status, 200, 'a good request is answered')
    })
  }
})
