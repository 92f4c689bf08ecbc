import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const projectRoot = fileURLToPath(new URL('../../../', import.meta.url))
const folders = ['common', 'tracker', 'storage-node', 'client', 'reproxy', 'deploy', 'test']

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  /** What was run: `npm ci …` and `build`. */
  readonly calls: readonly string[]
}

/** A checkout of its own, with an npm and a build that only note that they were called. */
class Checkout {
  readonly #root: string
  readonly #calls: string

  constructor(t: Test) {
    this.#root = t.testdir({
      'package.json': '{ "engines": { "node": ">=20.19" } }',
      'package-lock.json': '{}',
      'tsconfig.json': '{}',
      calls: '',
      bin: {},
      ...Object.fromEntries(folders.map(name => [name, { 'a.ts': '' }])),
    })
    this.#calls = join(this.#root, 'calls')
    copyFileSync(join(projectRoot, 'deploy', 'setup.mjs'), this.#path('deploy/setup.mjs'))
    this.npm('mkdir -p node_modules dist && touch node_modules/.package-lock.json dist/.built')
    this.build(`import { mkdirSync, writeFileSync } from 'node:fs'
      mkdirSync('dist', { recursive: true })
      writeFileSync('dist/.built', '')`)
  }

  #path(name: string): string {
    return join(this.#root, name)
  }

  /** What `npm` does, in shell. */
  npm(script: string): void {
    const text = `#!/bin/sh\necho "npm $*" >> calls\necho npm speaks\n${script}\n`
    writeFileSync(this.#path('bin/npm'), text)
    chmodSync(this.#path('bin/npm'), 0o755)
  }

  build(script: string): void {
    const note = `import { appendFileSync } from 'node:fs'; appendFileSync('calls', 'build\\n')`
    writeFileSync(this.#path('deploy/build.mjs'), `${note}\nconsole.log('build speaks')\n${script}`)
  }

  /** Writes a file that is `seconds` newer than now. */
  write(name: string, { seconds = 0, text = '' } = {}): void {
    mkdirSync(dirname(this.#path(name)), { recursive: true })
    writeFileSync(this.#path(name), text)
    const at = Date.now() / 1000 + seconds
    utimesSync(this.#path(name), at, at)
  }

  remove(name: string): void {
    rmSync(this.#path(name), { recursive: true })
  }

  setup(...args: string[]): Outcome {
    writeFileSync(this.#calls, '')
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [this.#path('deploy/setup.mjs'), ...args],
      {
        cwd: '/',
        encoding: 'utf8',
        env: { PATH: `${this.#path('bin')}${delimiter}${process.env['PATH']}`, CI: 'true' },
      },
    )
    const calls = readFileSync(this.#calls, 'utf8').split('\n').filter(Boolean)
    return { status, stdout, stderr, calls }
  }
}

const install = 'npm ci --include=dev'

t.test('installs in a new checkout, and then has nothing to do or say', async t => {
  const checkout = new Checkout(t)
  const first = checkout.setup()
  t.match(first, { status: 0, calls: [install] })
  t.equal(first.stdout, '', 'standard output is left to the program')
  t.match(first.stderr, 'npm speaks')
  t.strictSame(checkout.setup(), { status: 0, stdout: '', stderr: '', calls: [] })
})

t.test('installs again when the lock file is newer or an install was cut off', async t => {
  const checkout = new Checkout(t)
  checkout.setup()
  checkout.remove('node_modules/.package-lock.json')
  t.strictSame(checkout.setup().calls, [install])
  checkout.write('package-lock.json', { seconds: 2 })
  t.equal(checkout.setup().calls[0], install)
})

t.test('builds when a source is newer, the build is missing, or when asked to', async t => {
  const checkout = new Checkout(t)
  checkout.setup()
  checkout.remove('dist')
  t.strictSame(checkout.setup().calls, ['build'])
  t.strictSame(checkout.setup('--build').calls, ['build'])
  for (const name of [...folders.map(folder => `${folder}/deep/er/new.ts`), 'tsconfig.json']) {
    checkout.write(name, { seconds: 2 })
    const { calls, stdout } = checkout.setup()
    t.strictSame({ calls, stdout }, { calls: ['build'], stdout: '' }, name)
    checkout.write(name, { seconds: -2 })
    t.strictSame(checkout.setup().calls, [])
  }
})

t.test('does not build for files that are not compiled', async t => {
  const checkout = new Checkout(t)
  checkout.setup()
  checkout.write('tracker/migrations/0001_init.sql', { seconds: 2 })
  checkout.write('deploy/build.md', { seconds: 2 })
  t.strictSame(checkout.setup().calls, [])
})

t.test('builds once when it installs, even if asked to build', async t => {
  t.strictSame(new Checkout(t).setup('--build').calls, [install])
})

t.test('builds when the install did not', async t => {
  const checkout = new Checkout(t)
  checkout.npm('mkdir -p node_modules && touch node_modules/.package-lock.json')
  t.strictSame(checkout.setup().calls, [install, 'build'])
})

t.test('ends with the status of what failed and says so', async t => {
  const checkout = new Checkout(t)
  checkout.npm('exit 7')
  const failed = checkout.setup()
  t.equal(failed.status, 7)
  t.match(failed.stderr, 'omgfiles: could not install the dependencies: status 7')
  t.strictSame(failed.calls, [install], 'nothing is built')

  checkout.npm('mkdir -p node_modules && touch node_modules/.package-lock.json')
  checkout.build('process.exitCode = 3')
  t.match(checkout.setup(), { status: 3, stderr: 'omgfiles: could not build: status 3' })
})

t.test('refuses a Node that is too old before it does anything', async t => {
  const checkout = new Checkout(t)
  checkout.write('package.json', { text: '{ "engines": { "node": ">=99.1" } }' })
  const { status, stderr, calls } = checkout.setup()
  t.equal(status, 1)
  t.equal(stderr, `omgfiles: omgfiles needs Node 99.1 or newer; this is ${process.versions.node}\n`)
  t.strictSame(calls, [])
})
