import fc from 'fast-check'
import t from 'tap'
import {
  decodeArgs,
  encodeValue,
  formatError,
  formatOk,
  isConsoleLine,
  parseLine,
  rawPath,
  utf8ToWire,
  wireToUtf8,
  type Pair,
} from '../../../tracker/wire/codec.ts'

/** Any bytes, as a wire string. */
const wire = fc.uint8Array({ maxLength: 64 }).map(bytes => Buffer.from(bytes).toString('latin1'))
const awkward = fc
  .array(fc.constantFrom('%', '%4', '%zz', '%41', '+', '&', '=', '0', 'a', ' ', '\0', '\xff', '\r'))
  .map(parts => parts.join(''))
const name = fc.stringMatching(/^[a-z_][A-Za-z0-9_]{0,12}$/)
const url = fc.stringMatching(/^http:\/\/[A-Za-z0-9_,\-./\\:?]{1,40}$/)

t.test('of a request a thousand arguments are read', async t => {
  const names = Array.from({ length: 1001 }, (_, n) => `n${n}=${n}`)
  const args = parseLine(`noop ${names.join('&')}`)?.args
  t.equal(args?.size, 1000)
  t.equal(args?.get('n999'), '999')
})

t.test('the encoder leaves plain bytes, turns space into + and escapes the rest', async t => {
  const cases: [given: string, wanted: string][] = [
    ['', ''],
    ['AZaz09_,-./\\:', 'AZaz09_,-./\\:'],
    ['a b', 'a+b'],
    ['~*+%&=', '%7E%2A%2B%25%26%3D'],
    ['?;()[]\'"', '%3F%3B%28%29%5B%5D%27%22'],
    ['\0\t\r\n\x7f', '%00%09%0D%0A%7F'],
    [utf8ToWire('é€'), '%C3%A9%E2%82%AC'],
    ['\xff\x80', '%FF%80'],
  ]
  for (const [given, wanted] of cases) t.equal(encodeValue(given), wanted, JSON.stringify(given))
  t.throws(() => encodeValue('€'), RangeError, 'text that is not bytes is a mistake')
})

t.test('the decoder', async t => {
  const cases: [rule: string, given: string, wanted: Record<string, string>][] = [
    ['reads pairs', 'domain=d&key=k', { domain: 'd', key: 'k' }],
    ['has no pairs in an empty string', '', {}],
    ['drops empty segments', '&&a=1&&b=2&', { a: '1', b: '2' }],
    ['drops a segment that is exactly 0', '0&a=1&0', { a: '1' }],
    ['keeps 0 as a value and as a name', 'key=0&0=x&00', { key: '0', '0': 'x', '00': '' }],
    ['throws away what follows a second =', 'a=b=c&d==e', { a: 'b', d: '' }],
    ['takes a name alone and a name with = for an empty value', 'a&b=', { a: '', b: '' }],
    ['allows an empty name', '=x', { '': 'x' }],
    ['turns + into space', 'a+b=c+d', { 'a b': 'c d' }],
    ['decodes either case', '%6bey=%c3%A9%2B%2b', { key: '\xc3\xa9++' }],
    ['decodes once', 'a=%2541', { a: '%41' }],
    [
      'keeps a broken % as it is',
      'a=%zz&b=%4&c=%&d=%%41&e=%4%41',
      {
        a: '%zz',
        b: '%4',
        c: '%',
        d: '%A',
        e: '%4A',
      },
    ],
    ['decodes separators into data', 'a=%26%3D%0D%0A%00', { a: '&=\r\n\0' }],
    ['takes the first of a repeated name', 'class=a&class=b&class=', { class: 'a' }],
    [
      'keeps raw spaces, slashes, colons and high bytes',
      'k=x y/\xff:\x80z',
      {
        k: 'x y/\xff:\x80z',
      },
    ],
    ['keeps white space at the end', 'key=a \t', { key: 'a \t' }],
  ]
  for (const [rule, given, wanted] of cases) {
    t.strictSame(Object.fromEntries(decodeArgs(given)), wanted, rule)
  }
})

t.test("names of Object's own properties are names like any other", async t => {
  const args = decodeArgs('__proto__=a&constructor=b&toString=c')
  t.strictSame(
    [...args],
    [
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['toString', 'c'],
    ],
  )
  t.equal(decodeArgs('').get('constructor'), undefined)
})

t.test('decoding what was encoded gives the same bytes, for all bytes', async () => {
  fc.assert(
    fc.property(fc.oneof(wire, awkward), fc.oneof(wire, awkward), (a, b) => {
      const args = decodeArgs(`a=${encodeValue(a)}&b=${encodeValue(b)}`)
      return args.size === 2 && args.get('a') === a && args.get('b') === b
    }),
  )
})

t.test('text goes over the wire as UTF-8', async t => {
  t.equal(utf8ToWire('plain'), 'plain')
  t.equal(utf8ToWire('é'), '\xc3\xa9')
  t.equal(wireToUtf8('\xff'), '\ufffd', 'broken sequences show')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), text => wireToUtf8(utf8ToWire(text)) === text),
  )
})

t.test('any bytes can be decoded and parsed', async () => {
  fc.assert(
    fc.property(fc.oneof(wire, awkward), line => {
      decodeArgs(line)
      parseLine(line)
      isConsoleLine(line)
    }),
  )
})

t.test('a megabyte of separators, escapes or names is decoded in linear time', async t => {
  const size = 1024 * 1024
  for (const piece of ['&', '=', '%', '+', 'a&', '%41', '%4', 'a=%zz&', ' ']) {
    t.ok(decodeArgs(piece.repeat(size / piece.length)), JSON.stringify(piece))
  }
  t.equal(parseLine(' '.repeat(size)), undefined)
})

t.test('a request line', async t => {
  const parsed = (line: string) => {
    const result = parseLine(line)
    return result && `${result.command}(${[...result.args].map(p => p.join('=')).join(' ')})`
  }
  const cases: [rule: string, line: string, wanted: string | undefined][] = [
    ['needs no arguments', 'noop', 'noop()'],
    ['has a command in any case', 'GET_Domains', 'get_domains()'],
    ['may begin with white space', ' \tnoop', 'noop()'],
    ['may have any white space before the arguments', 'noop \t  a=1', 'noop(a=1)'],
    ['may end in white space', 'noop ', 'noop()'],
    ['ends its command at the first byte that is no word', 'noop&a=1', 'noop(a=1)'],
    ['keeps white space at the end of its last value', 'get_paths key=a ', 'get_paths(key=a )'],
    ['has a command that is digits', '123 a=1', '123(a=1)'],
    ['without a word is none', '', undefined],
    ['of white space is none', '  ', undefined],
    ['of junk is none', '?noop', undefined],
    ['beginning with a non-breaking space is none', '\xa0noop', undefined],
    ['beginning with a letter outside ASCII is none', '\xe9t\xe9', undefined],
    ['of the console with a space is none', '! stats', undefined],
  ]
  for (const [rule, line, wanted] of cases) t.equal(parsed(line), wanted, rule)
  t.equal(parseLine('noop callid=a%20b&x=1')?.callid, 'a b')
  t.equal(parseLine('noop callid=')?.callid, '', 'an empty callid was sent')
  t.equal(parseLine('noop x=1')?.callid, undefined)
})

t.test('a console line begins with ! and something', async t => {
  for (const line of ['!stats', '!x', '!!', '!\xff']) t.ok(isConsoleLine(line), line)
  for (const line of ['', '!', '! x', '!\tx', ' !x', 'x!']) t.notOk(isConsoleLine(line), line)
})

t.test('an OK line', async t => {
  const path = rawPath('http://10.0.0.1:7500/dev1/0/000/000/0000000001.fid?1795342800.AbC_-')
  t.equal(formatOk([]), 'OK \r\n', 'keeps the space when there are no pairs')
  t.equal(formatOk([], '8'), 'OK callid=8\r\n')
  t.equal(formatOk([['fid', 12]], 'a b'), 'OK fid=12&callid=a+b\r\n')
  t.equal(formatOk([['key', '']]), 'OK key=\r\n', 'sends nothing as an empty value')
  t.equal(formatOk([['n', 1e21]]), 'OK n=1e%2B21\r\n')
  t.equal(
    formatOk(
      new Map<string, string | typeof path>([
        ['key_1', 'a=b&c d'],
        ['path', path],
      ]),
    ),
    `OK key_1=a%3Db%26c+d&path=${path.url}\r\n`,
    'sends paths as they are and encodes the rest',
  )
})

t.test('a reply that clients could not read is not made', async t => {
  for (const bad of ['', '1a', 'a b', 'a=b', 'a&b', 'é', 'a\n', '-']) {
    t.throws(() => formatOk([[bad, '']]), RangeError, `name ${JSON.stringify(bad)}`)
  }
  for (const bad of ['', 'http://h/%41', 'http://h/a b', 'x?a=1', 'x&y', 'x\r\n', 'é']) {
    t.throws(() => rawPath(bad), RangeError, `path ${JSON.stringify(bad)}`)
  }
})

t.test('an ERR line', async t => {
  t.equal(
    formatError('unknown_command', 'Unknown server command'),
    'ERR unknown_command Unknown+server+command\r\n',
  )
  t.equal(formatError('unknown_key', '', '7'), 'ERR unknown_key unknown_key 7\r\n')
  t.equal(
    formatError('size_mismatch', 'é\r\n€', ' \xff'),
    'ERR size_mismatch %C3%A9%0D%0A%E2%82%AC +%FF\r\n',
    'is one line whatever the text',
  )
})

t.test('no reply holds what the clients in the field choke on', async () => {
  const value = fc.oneof(wire, awkward, fc.double(), fc.integer(), url.map(rawPath))
  const pairs = fc.array(fc.tuple(name, value))
  const callid = fc.option(fc.oneof(wire, awkward), { nil: undefined })
  fc.assert(
    fc.property(pairs, callid, (given: Pair[], id) => {
      const line = formatOk(given, id)
      const body = line.slice(3, -2)
      const segments = body === '' ? [] : body.split('&')
      return (
        /^OK \S*\r\n$/.test(line) &&
        segments.length === given.length + (id === undefined ? 0 : 1) &&
        segments.every(s => /^[a-z_]\w*=(?:[A-Za-z0-9_,\-./\\:?+]|%[0-9A-F]{2})*$/.test(s))
      )
    }),
  )
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), callid, (text, id) => {
      const [err, code, shown, echoed, ...more] = formatError('db', text, id)
        .slice(0, -2)
        .split(' ')
      return (
        err === 'ERR' &&
        code === 'db' &&
        /^\S+$/.test(shown ?? '') &&
        (echoed === undefined) === (id === undefined) &&
        /^\S*$/.test(echoed ?? '') &&
        more.length === 0
      )
    }),
  )
})
