import { PassThrough } from 'node:stream'
import t from 'tap'
import { contentTypeOf } from '../../../client/cli/content-type.ts'
import { createMeter, describeProgress } from '../../../client/cli/progress.ts'
import {
  escapeControls,
  formatBytes,
  formatSeconds,
  formatTable,
  printable,
  printableKey,
  shorten,
} from '../../../client/cli/text.ts'

t.test('a name cannot steer the terminal, end a line or pass for another name', async t => {
  t.equal(printable('cats/ä 猫 😀.jpg'), 'cats/ä 猫 😀.jpg')
  t.equal(printable('\u001b[2J\u009b31m\u0007'), '\\x1b[2J\\x9b31m\\x07')
  t.equal(printable('a\r\nb\u2028c\0'), 'a\\x0d\\x0ab\\u2028c\\x00')
  t.equal(printable('gpj.\u202eexe'), 'gpj.\\u202eexe')
  t.equal(printable('\ud800'), '\\ud800')
  t.equal(printable('a\\x1b'), 'a\\\\x1b')
  t.equal(escapeControls('"a\\n"\u001b'), '"a\\n"\\x1b')
  t.equal(
    printableKey({ key: '?', keyBytes: Buffer.from([0x61, 0xff, 0x1b, 0x5c]) }),
    'a\\xff\\x1b\\\\',
  )
})

t.test('sizes and times are short', async t => {
  const sizes = [0, 999, 1000, 1234, 999_499, 999_600, 12_345_678, 1.5e12, 2 ** 53]
  t.same(sizes.map(formatBytes), [
    '0 B',
    '999 B',
    '1.00 kB',
    '1.23 kB',
    '999 kB',
    '1.00 MB',
    '12.3 MB',
    '1.50 TB',
    '9.01 PB',
  ])
  t.same([0, 7, 61, 3599, 3600, 36_061].map(formatSeconds), [
    '0:00',
    '0:07',
    '1:01',
    '59:59',
    '1:00:00',
    '10:01:01',
  ])
})

t.test('a table lines up, keeps its width, and paints only the text', async t => {
  const paint = (text: string): string => `<${text}>`
  const columns = [{ title: 'NAME', shrink: true }, { title: 'N', right: true }, { title: 'STATE' }]
  const rows = [
    ['a-very-long-name-indeed', '1', { text: 'up', paint }],
    ['b\u001b', '200', 'down'],
  ]
  t.equal(
    formatTable(columns, rows, 26),
    'NAME              N  STATE\na-very-long-n…    1  <up>\nb\\x1b           200  down\n',
  )
  t.equal(formatTable([{ title: 'A' }], []), 'A\n')
})

t.test('what takes two columns on a terminal, or none, is counted so', async t => {
  const columns = [{ title: 'NAME', shrink: true }, { title: 'N' }]
  const rows = [['猫'], ['😀'], ['e\u0301'], ['ab']].map(([name = '']) => [name, '1'])
  t.equal(
    formatTable(columns, rows),
    ['NAME  N', '猫    1', '😀    1', 'e\u0301     1', 'ab    1', ''].join('\n'),
  )
  t.equal(shorten('猫猫猫', 6), '猫猫猫')
  t.equal(shorten('猫猫猫', 5), '猫猫…')
  t.equal(shorten('猫猫猫', 4), '猫…')
})

t.test('progress fits on a line and says how long it will take', async t => {
  const label = 'a-rather-long-name-of-a-film.mp4'
  const line = describeProgress({ label, done: 25e9, total: 100e9, seconds: 100 })
  t.equal(line, 'a-rather-long-name-…  [=====               ]  25%  100 GB  250 MB/s  ETA 5:00')
  t.ok(line.length < 80)
  t.equal(
    describeProgress({ label: '-', done: 5e6, total: undefined, seconds: 1 }),
    '-  5.00 MB  5.00 MB/s',
  )
  t.match(describeProgress({ label: '-', done: 0, total: 5e6, seconds: 0 }), /] {3}0%/)
})

t.test('progress writes nothing where no terminal is', async t => {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream
  const meter = createMeter({ stream, label: 'x', total: 1e9 })
  meter.add(5e8)
  meter.clear()
  meter.stop()
  t.equal((stream as unknown as PassThrough).read(), null)
})

t.test('the ending of a name tells its type, if any', async t => {
  t.equal(contentTypeOf('dir.d/A.JPG'), 'image/jpeg')
  t.equal(contentTypeOf('index.html'), 'text/html; charset=utf-8')
  for (const name of ['jpg', 'a.unheard', 'a.jpg/b', '-', 'a.'])
    t.equal(contentTypeOf(name), undefined)
})
