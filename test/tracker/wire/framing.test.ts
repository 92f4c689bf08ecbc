import fc from 'fast-check'
import t from 'tap'
import { LineReader, maxLineBytes } from '../../../tracker/wire/framing.ts'
import { Budget } from '../../../tracker/wire/memory.ts'

/** All lines that the reader gives for these pieces, taken after each. */
function read(
  pieces: readonly (string | Buffer)[],
  reader = new LineReader(new Budget(Infinity)),
): string[] {
  const lines: string[] = []
  for (const piece of pieces) {
    reader.push(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
    for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(line)
  }
  return lines
}

t.test('LF ends a line, and one CR before it goes with it', async t => {
  const cases: [given: string[], wanted: string[]][] = [
    [['a\nb\r\n'], ['a', 'b']],
    [['a\r\r\n'], ['a\r']],
    [['a\rb\n'], ['a\rb']],
    [['\n\r\n\n'], []],
    [['a'], []],
    [['a', 'b', '\n'], ['ab']],
    [['a\r', '\n'], ['a']],
    [['\r', '\n', 'a\n'], ['a']],
    [
      ['a\nb', 'c\nd'],
      ['a', 'bc'],
    ],
    [['\0\xff\n'], ['\0\xff']],
    [[' \n'], [' ']],
  ]
  for (const [given, wanted] of cases) t.strictSame(read(given), wanted, JSON.stringify(given))
})

t.test('lines are the same however the bytes are cut', async () => {
  const byte = fc.oneof(fc.constantFrom(10, 13, 97), fc.integer({ min: 0, max: 255 }))
  fc.assert(
    fc.property(fc.array(byte), fc.array(fc.integer({ min: 1, max: 9 })), (bytes, cuts) => {
      const whole = Buffer.from(bytes)
      const pieces: Buffer[] = []
      let at = 0
      for (const size of cuts) {
        pieces.push(whole.subarray(at, at + size))
        at += size
      }
      pieces.push(whole.subarray(at))
      const wanted = whole.toString('latin1').split('\n').slice(0, -1)
      const lines = wanted.map(l => l.replace(/\r$/, '')).filter(l => l !== '')
      return read(pieces).join('\n') === lines.join('\n')
    }),
  )
})

t.test('bytes that come before the lines are taken are kept', async t => {
  const reader = new LineReader(new Budget(Infinity))
  reader.push(Buffer.from('a\nb\nc'))
  t.equal(reader.next(), 'a')
  reader.push(Buffer.from('d\ne'))
  t.equal(reader.next(), 'b')
  t.equal(reader.next(), 'cd')
  t.equal(reader.next(), undefined)
  t.strictSame(read(['\n'], reader), ['e'])
})

t.test('what is kept is our own: the bytes may be overwritten', async t => {
  const reader = new LineReader(new Budget(Infinity))
  const shared = Buffer.alloc(8)
  shared.write('a\nb\ncd')
  reader.push(shared.subarray(0, 6))
  t.equal(reader.next(), 'a')
  reader.keep()
  shared.fill('x')
  t.equal(reader.next(), 'b')
  t.equal(reader.next(), undefined)
  shared.write('e\nf')
  reader.push(shared.subarray(0, 3))
  reader.keep()
  shared.fill('x')
  t.strictSame(read(['\n'], reader), ['cde', 'f'])
})

t.test('a line has at most 1 MiB', async t => {
  const longest = 'x'.repeat(maxLineBytes)
  t.strictSame(read([`${longest}\r\n`]), [longest])
  t.strictSame(read([longest, '\r', '\n']), [longest])
  t.throws(() => read([`${longest}x\n`]), { code: 'line_too_long' }, 'in one piece')
  t.throws(() => read([longest, 'x\n']), { code: 'line_too_long' }, 'in two')
  t.throws(() => read([longest, 'xx']), { code: 'line_too_long' }, 'without an end')
})

t.test('a line that comes byte by byte is no burden', async t => {
  const reader = new LineReader(new Budget(Infinity))
  const before = process.memoryUsage()
  for (let n = 0; n < maxLineBytes; n++) {
    reader.push(Buffer.from('x'))
    reader.next()
  }
  t.equal(read(['\n'], reader)[0]?.length, maxLineBytes)
  t.ok(process.memoryUsage().arrayBuffers - before.arrayBuffers < 32 * 1024 * 1024)
})

t.test('long lines share a budget until they are answered, short ones need none', async t => {
  const budget = new Budget(128 * 1024)
  const [first, second, short] = [1, 2, 3].map(() => new LineReader(budget))
  const feed = (reader: LineReader | undefined, text: string): string | undefined => {
    reader?.push(Buffer.from(text))
    return reader?.next()
  }
  const tooLong = { code: 'line_too_long' }
  t.equal(feed(first, 'x'.repeat(40_000)), undefined)
  t.throws(() => feed(second, 'x'.repeat(100_000)), tooLong)
  second?.release()
  t.equal(feed(short, 'y'.repeat(4096)), undefined)
  t.equal(feed(short, '\n'), 'y'.repeat(4096))
  t.equal(feed(first, 'x\n'), 'x'.repeat(40_001))
  const [other, whole] = [new LineReader(budget), new LineReader(budget)]
  t.throws(() => feed(other, 'x'.repeat(120_000)), tooLong, 'the line may be worked on')
  other.release()
  t.equal(first?.next(), undefined, 'whoever asks for the next one is done with it')
  t.equal(feed(other, 'x'.repeat(120_000)), undefined)
  t.throws(
    () => feed(whole, `${'x'.repeat(20_000)}\n`),
    tooLong,
    'also one that comes in one piece',
  )
  whole.release()
  other.release()
  other.release()
  t.ok(budget.take(128 * 1024), 'and so does one that never ends')
})
