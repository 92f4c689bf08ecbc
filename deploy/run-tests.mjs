/**
 * Runs the tests: `tap` with the arguments given, on one Postgres that all test files share (the one
 * of DATABASE_URL if that is set). The last line is `N passed, N failed`, and `, N skipped` if any
 * were; the exit status is 0 only if nothing failed.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createReport, formatCounts } from '../dist/test/helpers/report.js'
import { startTestServer } from '../dist/test/helpers/test-server.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const tapPackage = createRequire(import.meta.url).resolve('tap/package.json')
const tap = join(dirname(tapPackage), 'dist', 'esm', 'run.mjs')

let interruptedBy
let child
// The tests end first and Postgres after them, so a signal does not end this process. tap does not
// pass signals on, so they go to it and its test files as a group.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interruptedBy ??= signal
    if (child) process.kill(-child.pid, signal)
  })
}

const report = createReport(line => console.log(line))
const server = process.env.DATABASE_URL ? undefined : await startTestServer()
let status
try {
  status = await runTap(server ? { OMG_TEST_DATABASE_URL: server.url } : {})
} finally {
  await server?.close()
}
const counts = report.end(interruptedBy ?? status)
console.log(`\n${formatCounts(counts)}`)
process.exitCode = counts.failed > 0 ? 1 : 0

/** Returns tap's exit status or the signal that ended it. */
async function runTap(env) {
  if (interruptedBy) return interruptedBy
  child = spawn(process.execPath, [tap, ...process.argv.slice(2), '--reporter=tap'], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      child = undefined
      resolve(signal ?? code)
    })
  })
  child.stdout.setEncoding('utf8').on('data', chunk => report.write(chunk))
  return await ended
}
