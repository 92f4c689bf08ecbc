/**
 * Runs the compiled tests, or those that the arguments name, on one Postgres that they share (the one
 * of DATABASE_URL if that is set). The last line is `N passed, N failed`, and `, N skipped` if any
 * were; the exit status is 0 only if nothing failed.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createReport, formatCounts } from '../dist/test/helpers/report.js'
import { runFiles } from '../dist/test/helpers/run-files.js'
import { startTestServer } from '../dist/test/helpers/test-server.js'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const tests = 'dist/test'
const named = process.argv.slice(2)
const files = named.length > 0 ? named : findTests()

let interruptedBy
let run
// The tests end first and Postgres after them, so a signal does not end this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interruptedBy ??= signal
    run?.stop(signal)
  })
}

const report = createReport(line => console.log(line))
const server = process.env.DATABASE_URL ? undefined : await startTestServer()
try {
  if (!interruptedBy) {
    const env = { ...process.env, ...(server && { OMG_TEST_DATABASE_URL: server.url }) }
    // Many of them wait for something most of the time.
    run = runFiles(files, { jobs: 3, timeoutMs: 300_000, env, report })
    await run.ended
  }
} finally {
  await server?.close()
}
const counts = report.end(interruptedBy)
console.log(`\n${formatCounts(counts)}`)
process.exitCode = counts.failed > 0 ? 1 : 0

function findTests() {
  return readdirSync(tests, { recursive: true })
    .filter(name => name.endsWith('.test.js'))
    .sort()
    .map(name => join(tests, name))
}
