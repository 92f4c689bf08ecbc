import fc from 'fast-check'
import t from 'tap'
import {
  MalformedResponse,
  ResponseParser,
  type ResponseHead,
} from '../../../reproxy/http/response-parser.ts'

interface Parsed {
  status?: number
  body: string
  ended: boolean
  rest: string
}

/** Parses `text`, given in pieces that end at `cuts`. */
function parse(text: string, { cuts = [] as number[], method = 'GET', fin = false } = {}): Parsed {
  const parsed: Parsed = { body: '', ended: false, rest: '' }
  const bytes = Buffer.from(text, 'latin1')
  const parser = new ResponseParser(
    {
      onHead: (head: ResponseHead) => (parsed.status = head.status),
      onData: chunk => (parsed.body += chunk.toString('latin1')),
      onEnd: rest => {
        parsed.ended = true
        parsed.rest = rest.toString('latin1')
      },
    },
    { method, upgrade: false, maxHeadBytes: 1000 },
  )
  let from = 0
  for (const to of [
    ...cuts.filter(cut => cut < bytes.length).toSorted((a, b) => a - b),
    bytes.length,
  ]) {
    const piece = bytes.subarray(from, to)
    if (parsed.ended) parsed.rest += piece.toString('latin1')
    else parser.feed(piece)
    from = to
  }
  if (fin && !parsed.ended) parsed.ended = parser.finish()
  return parsed
}

const good: [
  text: string,
  wanted: Partial<Parsed>,
  options?: { method?: string; fin?: boolean },
][] = [
  [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcrest',
    { body: 'abc', ended: true, rest: 'rest' },
  ],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', { body: '', ended: true }],
  [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc',
    { body: 'abc', ended: true },
  ],
  ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab', { body: 'ab', ended: false }, { fin: true }],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x="y"\r\n0123456789\r\n0\r\nA: b\r\n\r\nrest',
    { body: 'abc0123456789', ended: true, rest: 'rest' },
  ],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n',
    { body: 'abc', ended: false },
    { fin: true },
  ],
  ['HTTP/1.0 200 OK\r\n\r\nabc', { body: 'abc', ended: true }, { fin: true }],
  [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nrest',
    { body: '', ended: true, rest: 'rest' },
    { method: 'HEAD' },
  ],
  ['HTTP/1.1 304 X\r\nContent-Length: 3\r\n\r\nrest', { status: 304, ended: true, rest: 'rest' }],
  ['HTTP/1.1 204 X\r\n\r\n', { status: 204, ended: true }],
  [
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na',
    { status: 200, body: 'a', ended: true },
  ],
  ['HTTP/1.1 200\r\nContent-Length:\t 1 \t\r\n\r\na', { body: 'a', ended: true }],
]

t.test('responses are read to exactly their end, however the bytes arrive', async t => {
  for (const [text, wanted, options] of good) t.match(parse(text, options), wanted, text)
  fc.assert(
    fc.property(
      fc.constantFrom(...good),
      fc.array(fc.nat(150), { maxLength: 12 }),
      ([text, , options], cuts) => {
        t.strictSame(parse(text, { ...options, cuts }), parse(text, options))
      },
    ),
    { numRuns: 300 },
  )
})

t.test('what is not exactly a response is refused, however the bytes arrive', async t => {
  const head = 'HTTP/1.1 200 OK\r\n'
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`
  for (const text of [
    'hello',
    'HTTP/2 200 OK\r\n',
    'HTTP/1.2 200 OK\r\n',
    'http/1.1 200 OK\r\n',
    'HTTP/1.1 20 OK\r\n',
    'HTTP/1.1 2000 OK\r\n',
    'HTTP/1.1  200 OK\r\n',
    'HTTP/1.1 200 OK\n',
    'HTTP/1.1 200 O\x01K\r\n',
    '\r\nHTTP/1.1 200 OK\r\n',
    `${head}no colon\r\n`,
    `${head}: empty\r\n`,
    `${head}A : b\r\n`,
    `${head} A: b\r\n`,
    `${head}A: b\r\n folded\r\n`,
    `${head}A: b\rc\r\n`,
    `${head}A: b\0\r\n`,
    `${head}A: b\n`,
    `${head}Content-Length: 3, 3\r\n\r\n`,
    `${head}Content-Length: +3\r\n\r\n`,
    `${head}Content-Length: \r\n\r\n`,
    `${head}Content-Length: 3\r\nContent-Length: 4\r\n\r\n`,
    `${head}Content-Length: 9999999999999999\r\n\r\n`,
    `${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `${head}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    `${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    `${head}A: ${'b'.repeat(1000)}`,
    'HTTP/1.1 101 X\r\n\r\n',
    'HTTP/1.1 100 X\r\n\r\n'.repeat(30),
    `${chunked}\r\n`,
    `${chunked}x`,
    `${chunked}-1\r\n`,
    `${chunked}0x3\r\n`,
    `${chunked}3 \r\n`,
    `${chunked}3\n`,
    `${chunked}ffffffffffffffff\r\n`,
    `${chunked}3\r\nabcd`,
    `${chunked}3\r\nabc\rd`,
    `${chunked}3\r\nabc\n`,
    `${chunked}0\r\nno colon\r\n`,
    `${chunked}3;${'x'.repeat(5000)}`,
  ]) {
    t.throws(() => parse(text), MalformedResponse, text.slice(0, 80))
    const everyByte = Array.from({ length: text.length }, (_, i) => i)
    t.throws(
      () => parse(text, { cuts: everyByte }),
      MalformedResponse,
      `byte by byte: ${text.slice(0, 80)}`,
    )
  }
})
