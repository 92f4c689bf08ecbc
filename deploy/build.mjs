/**
 * Compiles the sources to `dist`, which is removed first so that nothing outlives its source. Ends
 * with the compiler's status. `dist/.built` marks a build that succeeded; its time is that of the
 * start, since what was edited during the build may not be in it.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, 'dist')
const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
const tsc = join(dirname(typescript), 'bin', 'tsc')
const startedAt = new Date()

rmSync(dist, { recursive: true, force: true })
const { status, error } = spawnSync(process.execPath, [tsc, '--project', root], {
  cwd: root,
  stdio: 'inherit',
})
if (error) throw error

if (status === 0) {
  chmodSync(join(dist, 'client', 'cli', 'main.js'), 0o755)
  const mark = join(dist, '.built')
  writeFileSync(mark, '')
  utimesSync(mark, startedAt, startedAt)
}
process.exitCode = status ?? 1
