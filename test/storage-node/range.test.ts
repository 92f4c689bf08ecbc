import t from 'tap'
import { parseRange } from '../../storage-node/http/range.ts'

const cases: [header: string | undefined, size: number, verdict: string][] = [
  [undefined, 10, 'whole'],
  ['bytes=0-0', 10, '0-0'],
  ['bytes=2-5', 10, '2-5'],
  ['Bytes=2-5', 10, '2-5'],
  ['bytes=5-', 10, '5-9'],
  ['bytes=5-99', 10, '5-9'],
  ['bytes=0-9223372036854775808', 10, '0-9'],
  ['bytes=-3', 10, '7-9'],
  ['bytes=-99', 10, '0-9'],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=9223372036854775808-', 10, 'unsatisfiable'],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=-5', 0, 'unsatisfiable'],
  ['bytes=10-12, 20-', 10, 'unsatisfiable'],
  ['bytes=0-1, 3-4', 10, 'whole'],
  ['bytes=5-2', 10, 'whole'],
  ['bytes=', 10, 'whole'],
  ['bytes=-', 10, 'whole'],
  ['bytes=a-b', 10, 'whole'],
  ['bytes=1', 10, 'whole'],
  ['bytes=+1-2', 10, 'whole'],
  ['bytes 1-2', 10, 'whole'],
  ['lines=1-2', 10, 'whole'],
  [`bytes=${Array.from({ length: 17 }, () => '0-0').join(',')}`, 10, 'whole'],
]

void t.test('a range is one part, not satisfiable, or the whole file', t => {
  for (const [header, size, expected] of cases) {
    const range = parseRange(header, size)
    const verdict = typeof range === 'object' ? `${range.first}-${range.last}` : (range ?? 'whole')
    t.equal(verdict, expected, `${header} of ${size}`)
  }
  t.end()
})
