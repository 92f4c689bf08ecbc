import fc from 'fast-check'
import t from 'tap'
import { parsePlainHead } from '../../../reproxy/front/plain-head.ts'

t.test('GET and HEAD of a path are plain, whatever ordinary fields they have', async t => {
  t.strictSame(parsePlainHead('GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nx:  y\t'), {
    method: 'GET',
    target: '/a?b=c',
    version: '1.1',
    fields: [
      ['Host', 'a'],
      ['X-Empty', ''],
      ['x', 'y'],
    ],
    keepAlive: true,
  })
  for (const [head, keepAlive] of [
    ['HEAD / HTTP/1.1\r\nConnection: Keep-Alive', true],
    ['HEAD / HTTP/1.1\r\nconnection: close', false],
    ['GET / HTTP/1.0', false],
    ['GET / HTTP/1.0\r\nConnection: keep-alive', true],
  ] as const) {
    t.equal(parsePlainHead(head)?.keepAlive, keepAlive, head)
  }
})

t.test(
  'what changes the meaning of a connection, or is no good head, is left to others',
  async t => {
    for (const head of [
      'POST / HTTP/1.1\r\nHost: a',
      'get / HTTP/1.1\r\nHost: a',
      'GET http://a/ HTTP/1.1\r\nHost: a',
      'GET * HTTP/1.1\r\nHost: a',
      'GET /a b HTTP/1.1\r\nHost: a',
      'GET /a#b HTTP/1.1\r\nHost: a',
      'GET /\xff HTTP/1.1\r\nHost: a',
      'GET / HTTP/1.2\r\nHost: a',
      'GET / HTTP/1.1 \r\nHost: a',
      'GET / HTTP/1.1\nHost: a',
      'GET / HTTP/1.1\r\nHost : a',
      'GET / HTTP/1.1\r\n Host: a',
      'GET / HTTP/1.1\r\nHost: a\r\n folded',
      'GET / HTTP/1.1\r\nHost: a\r\nX: b\rc',
      'GET / HTTP/1.1\r\nHost: a\r\nX: b\nc',
      'GET / HTTP/1.1\r\nHost: a\r\nX: b\0c',
      'GET / HTTP/1.1\r\nHost: a\r\nno colon',
      'GET / HTTP/1.1\r\nHost: a\r\n: no name',
      'GET / HTTP/1.1\r\nHost: a\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0',
      'GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked',
      'GET / HTTP/1.1\r\nHost: a\r\nUPGRADE: websocket',
      'GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue',
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Other',
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close',
    ]) {
      t.equal(parsePlainHead(head), undefined, JSON.stringify(head))
    }
  },
)

t.test('fields come back as they were written', async t => {
  const name = fc
    .stringMatching(/^[A-Za-z-]{1,20}$/)
    .filter(text => !/^(connection|expect|upgrade|content-length|transfer-encoding)$/i.test(text))
  const value = fc.stringMatching(/^(?:[\x21-\x7e](?:[\x20-\x7e]{0,20}[\x21-\x7e])?)?$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), fields => {
      const lines = fields.map(([each, text]) => `\r\n${each}: ${text}`)
      const parsed = parsePlainHead(`GET / HTTP/1.1${lines.join('')}`)
      t.strictSame(parsed?.fields, fields)
    }),
  )
})
