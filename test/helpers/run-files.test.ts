import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { directory } from './directory.ts'
import { createReport, formatCounts, type Counts } from './report.ts'
import { runFiles, type Run } from './run-files.ts'
import { until } from './until.ts'
import { untilGone } from './up.ts'

const pass = "console.log('TAP version 14\\nok 1 - fine\\n1..1')"
/** Starts a process that does not end by itself and tells its number. */
const hang = `
  const { spawn } = require('node:child_process')
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  require('node:fs').writeFileSync(__filename + '.pid', String(child.pid))
  setInterval(() => {}, 1000)`

interface Running {
  readonly run: Run
  readonly lines: string[]
  readonly counts: (signal?: string) => Counts
}

function start(dir: string, programs: Record<string, string>, timeoutMs: number): Running {
  const files = Object.keys(programs).map(name => join(dir, `${name}.cjs`))
  for (const [i, program] of Object.values(programs).entries()) writeFileSync(files[i]!, program)
  const lines: string[] = []
  const report = createReport(line => lines.push(line))
  const run = runFiles(files, { jobs: 2, timeoutMs, graceMs: 100, env: process.env, report })
  return { run, lines, counts: signal => report.end(signal) }
}

t.test('runs all files, more than fit at once, and tells them apart', async t => {
  const fail = "console.log('TAP version 14\\nnot ok 1 - wrong\\n1..1'); process.exitCode = 1"
  const programs = { a: pass, b: fail, c: pass, d: `${pass}; process.exitCode = 3` }
  const { run, lines, counts } = start(await directory(t), programs, 300_000)
  await run.ended
  t.equal(formatCounts(counts()), '2 passed, 2 failed')
  const text = lines.join('\n')
  t.match(text, /✓ \S*a\.cjs/)
  t.match(text, /✗ \S*b\.cjs.*\n.*✗.*\n.*wrong/)
  t.match(text, /failed outside of its tests, exit status 3/)
})

t.test('ends a file that takes too long, with all that it has started', async t => {
  const dir = await directory(t)
  const { run, lines, counts } = start(dir, { slow: hang, quick: pass }, 3_000)
  await run.ended
  t.equal(formatCounts(counts()), '1 passed, 1 failed')
  t.match(lines.join('\n'), 'ended by SIGKILL')
  await untilGone(Number(await pidOf(dir)))
})

t.test('passes a signal on and begins no more files', async t => {
  const dir = await directory(t)
  const { run, counts } = start(dir, { slow: hang, more: hang, never: pass }, 300_000)
  const pid = await pidOf(dir)
  run.stop('SIGINT')
  await run.ended
  t.equal(counts('SIGINT').passed, 0)
  await untilGone(Number(pid))
})

/** Of the process that `slow` has started. */
async function pidOf(dir: string): Promise<string> {
  let pid = ''
  await until('the file has started a process', async () => {
    pid = await readFile(join(dir, 'slow.cjs.pid'), 'utf8').catch(() => '')
    return pid !== ''
  })
  return pid
}
