import t from 'tap'
import { createReport, formatCounts } from './report.ts'

/** The counts and the printed lines for what tap wrote. */
function report(tap: string, status: number | string): { counts: string; printed: string } {
  const lines: string[] = []
  const reading = createReport(line => lines.push(line))
  // In pieces, as a pipe delivers it.
  for (let at = 0; at < tap.length; at += 7) reading.write(tap.slice(at, at + 7))
  const counts = formatCounts(reading.end(status))
  return { counts, printed: lines.join('\n') }
}

const passing = `TAP version 14
1..1
# Subtest: dist/test/a.test.js
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
ok 1 - dist/test/a.test.js # time=12.3ms
`

t.test('counts the innermost tests, not their assertions', async t => {
  t.strictSame(report(passing, 0), {
    counts: '3 passed, 0 failed',
    printed: '✓ dist/test/a.test.js: 3 passed, 0 failed (12 ms)',
  })
})

t.test('counts a file that has assertions only as one test', async t => {
  const tap = `TAP version 14
# Subtest: a
    ok 1 - x
    ok 2 - y
    1..2
ok 1 - a
1..1
`
  t.equal(report(tap, 0).counts, '1 passed, 0 failed')
})

t.test('counts skips wherever they stand, and tells their reasons', async t => {
  const tap = `TAP version 14
# Subtest: a
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
ok 1 - a
# Subtest: b
    1..0 # not on this platform
ok 2 - b # SKIP not on this platform
1..2
`
  const { counts, printed } = report(tap, 0)
  t.equal(counts, '1 passed, 0 failed, 3 skipped')
  t.match(printed, '  skipped whole test: needs root\n')
  t.match(printed, '  skipped b: not on this platform')
})

t.test('tells a failure once, with all its diagnostics', async t => {
  const tap = `TAP version 14
# Subtest: a
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
not ok 1 - a
1..1
`
  const { counts, printed } = report(tap, 1)
  t.equal(counts, '0 passed, 1 failed')
  t.equal(
    printed.replace(/\(\d+ ms\)/, '(ms)'),
    `✗ a: 0 passed, 1 failed (ms)
  |     console output
  ✗ a › outer › inner
      should be equal
        diff:
          -ok 7 - looks like a test point
          +b
        at:
          lineNumber: 3

Failed:
  a › outer › inner`,
  )
})

const fileThatEnds = (how: string): string => `TAP version 14
# Subtest: a
    # Subtest: fine
        ok 1 - x
        1..1
    ok 1 - fine
not ok 1 - a
  ---
  ${how}
  ...
1..1
`

t.test('counts a file that crashes as a failure besides the tests it ran', async t => {
  const killed = report(fileThatEnds('signal: SIGKILL'), 1)
  t.equal(killed.counts, '1 passed, 1 failed')
  t.match(killed.printed, 'ended by SIGKILL')
  const ended = report(fileThatEnds('exitCode: 7'), 1)
  t.equal(ended.counts, '1 passed, 1 failed')
  t.match(ended.printed, 'failed outside of its tests, exit status 7')
})

t.test('counts a file without tests, and a run without files, as failures', async t => {
  const empty = `TAP version 14
# Subtest: a
    1..0 # no tests found
ok 1 - a # SKIP no tests found
1..1
`
  t.equal(report(empty, 0).counts, '0 passed, 1 failed')
  t.equal(report('TAP version 14\n1..0\n', 0).counts, '0 passed, 1 failed')
  t.equal(report('', 1).counts, '0 passed, 1 failed')
})

t.test('has a failure whenever tap did not end well', async t => {
  t.match(report(passing, 'SIGINT'), {
    counts: '3 passed, 1 failed',
    printed: 'the run was ended by SIGINT',
  })
  t.match(report(passing, 3), { counts: '3 passed, 1 failed', printed: 'tap ended with 3' })
})
