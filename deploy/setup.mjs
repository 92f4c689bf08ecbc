/**
 * Makes a checkout ready to run: installs the dependencies and builds, each only if needed (the
 * build also on `--build`). Runs before there are any dependencies, so it uses none. Everything it
 * and its children say goes to standard error; standard output is the program's that runs next.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const sources = ['common', 'tracker', 'storage-node', 'client', 'reproxy', 'deploy', 'test']

function main() {
  checkNode()
  const installed = needsInstall()
  // `npm ci` builds as well. The compiler and the tests are wanted even where NODE_ENV says production.
  if (installed) run('install the dependencies', 'npm', ['ci', '--include=dev'])
  if (needsBuild() || (process.argv.includes('--build') && !installed)) {
    run('build', process.execPath, [join(root, 'deploy', 'build.mjs')])
  }
}

function checkNode() {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const wanted = engines.node.replace('>=', '')
  const [major, minor] = process.versions.node.split('.').map(Number)
  const [wantedMajor, wantedMinor] = wanted.split('.').map(Number)
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return
  fail(`omgfiles needs Node ${wanted} or newer; this is ${process.versions.node}`, 1)
}

/** True when nothing is installed, an install did not finish, or the lock file changed since. */
function needsInstall() {
  // npm writes this file when everything is in place.
  const installedAt = changedAt(join(root, 'node_modules', '.package-lock.json'))
  return installedAt < changedAt(join(root, 'package-lock.json')) || installedAt === 0
}

/** True when no build succeeded since the newest source was changed. */
function needsBuild() {
  const builtAt = changedAt(join(root, 'dist', '.built'))
  const settings = ['tsconfig.json', 'package-lock.json'].map(name => changedAt(join(root, name)))
  const newest = Math.max(...settings, ...sources.map(name => newestSource(join(root, name))))
  return builtAt === 0 || builtAt < newest
}

function newestSource(directory) {
  let newest = 0
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) newest = Math.max(newest, newestSource(path))
    else if (extname(entry.name) === '.ts') newest = Math.max(newest, changedAt(path))
  }
  return newest
}

/** Milliseconds since 1970; 0 for a file that does not exist. */
function changedAt(path) {
  const found = statSync(path, { throwIfNoEntry: false })
  return found ? found.mtimeMs : 0
}

function run(purpose, command, args) {
  console.error(`omgfiles: ${purpose}: ${command} ${args.join(' ')}`)
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status === 0) return
  const end = error ? error.message : signal ? `ended by ${signal}` : `status ${status}`
  fail(`could not ${purpose}: ${end}`, status || 1)
}

function fail(message, status) {
  console.error(`omgfiles: ${message}`)
  process.exit(status)
}

main()
