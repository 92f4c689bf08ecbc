import t from 'tap'
import { createReport, formatCounts } from './report.ts'

/** The counts and the printed lines for what a file wrote, and how its process ended. */
function report(
  tap: string,
  { status = 0, signal = null }: { status?: number | null; signal?: string | null } = {},
): { counts: string; printed: string } {
  const lines: string[] = []
  const reading = createReport(line => lines.push(line))
  const file = reading.file('a.test.js')
  // In pieces, as a pipe delivers it.
  for (let at = 0; at < tap.length; at += 7) file.write(tap.slice(at, at + 7))
  file.end({ status, signal, ms: 12.3 })
  return { counts: formatCounts(reading.end()), printed: lines.join('\n') }
}

const passing = `TAP version 14
# Subtest: two assertions
    ok 1 - should be equal
    ok 2 - should be equal
    1..2
ok 1 - two assertions # time=2ms
# Subtest: outer
    # Subtest: inner one
        ok 1 - should be equal
        1..1
    ok 1 - inner one
    # Subtest: inner two
        1..0
    ok 2 - inner two
    1..2
ok 2 - outer
1..2
`

t.test('counts the innermost tests, not their assertions', async t => {
  t.strictSame(report(passing), {
    counts: '3 passed, 0 failed',
    printed: '✓ a.test.js: 3 passed, 0 failed (12 ms)',
  })
})

t.test('counts a file that has assertions only as one test', async t => {
  t.equal(report('TAP version 14\nok 1 - x\nok 2 - y\n1..2\n').counts, '1 passed, 0 failed')
})

t.test('counts skips wherever they stand, and tells their reasons', async t => {
  const { counts, printed } = report(`TAP version 14
ok 1 - whole test # SKIP needs root
# Subtest: inside
    ok 1 - no tool # SKIP
    1..1
ok 2 - inside
# Subtest: in part
    ok 1 - no tool # SKIP
    ok 2 - the rest
    1..2
ok 3 - in part
1..3
`)
  t.equal(counts, '1 passed, 0 failed, 2 skipped')
  t.match(printed, '  skipped whole test: needs root\n')
  const whole = report('TAP version 14\n1..0 # SKIP not on this platform\n')
  t.equal(whole.counts, '0 passed, 0 failed, 1 skipped')
  t.match(whole.printed, '  skipped a.test.js: not on this platform')
})

t.test('tells a failure once, with all its diagnostics', async t => {
  const tap = `TAP version 14
# Subtest: outer
    # Subtest: inner
        not ok 1 - should be equal
          ---
          diff: |
            -ok 7 - looks like a test point
            +b
          at:
            lineNumber: 3
          ...
        1..1
    not ok 1 - inner
    1..1
not ok 1 - outer
console output
1..1
`
  const { counts, printed } = report(tap, { status: 1 })
  t.equal(counts, '0 passed, 1 failed')
  t.equal(
    printed,
    `✗ a.test.js: 0 passed, 1 failed (12 ms)
  | console output
  ✗ a.test.js › outer › inner
      should be equal
        diff:
          -ok 7 - looks like a test point
          +b
        at:
          lineNumber: 3

Failed:
  a.test.js › outer › inner`,
  )
})

t.test('counts a file that crashes as a failure besides the tests it ran', async t => {
  const begun = 'TAP version 14\n# Subtest: fine\n    ok 1 - x\n    1..1\nok 1 - fine\n'
  const killed = report(begun, { status: null, signal: 'SIGKILL' })
  t.equal(killed.counts, '1 passed, 1 failed')
  t.match(killed.printed, 'ended by SIGKILL')
  const ended = report(`${begun}1..1\n`, { status: 7 })
  t.equal(ended.counts, '1 passed, 1 failed')
  t.match(ended.printed, 'failed outside of its tests, exit status 7')
})

t.test('counts a file without tests, and a run without files, as failures', async t => {
  t.equal(report('TAP version 14\n1..0 # no tests found\n').counts, '0 passed, 1 failed')
  t.equal(report('').counts, '0 passed, 1 failed')
  t.equal(formatCounts(createReport(() => {}).end()), '0 passed, 1 failed')
})

t.test('has a failure whenever a signal ended the run', async t => {
  const lines: string[] = []
  const interrupted = createReport(line => lines.push(line))
  const file = interrupted.file('a.test.js')
  file.write(passing)
  file.end({ status: 0, signal: null, ms: 1 })
  t.equal(formatCounts(interrupted.end('SIGINT')), '3 passed, 1 failed')
  t.match(lines.join('\n'), 'the run was ended by SIGINT')
})
