import { execFile, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { directory } from '../../helpers/directory.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { omg } from '../../helpers/up.ts'
import { startSystem } from './omg.ts'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const read = (page: string): string => readFileSync(join(root, page), 'utf8')

const execute = promisify(execFile)

/** A folder with the commands that the pages use, for PATH. */
function commandsIn(folder: string, scripts: Readonly<Record<string, string>>): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  return `${bin}${delimiter}${process.env['PATH'] ?? ''}`
}

const omgScript = `exec "${process.execPath}" "${omg}" "$@"`

/** Runs lines as a shell would, and fails with what they said. */
async function shell(script: string, options: { cwd: string; env: NodeJS.ProcessEnv }) {
  return execute('bash', ['-euo', 'pipefail', '-c', script], options)
}

t.test('the commands of from-mogilefs.md do what they say, in their order', async t => {
  const { cwd, env, run } = await startSystem(t)
  const path = commandsIn(cwd, { omg: omgScript })
  writeFileSync(join(cwd, 'cat.jpg'), 'a cat')
  mkdirSync(join(cwd, 'folder'))
  writeFileSync(join(cwd, 'folder', 'a.txt'), 'a')
  const rows = read('docs/from-mogilefs.md')
    .split('\n')
    .filter(line => line.startsWith('| `'))
  t.ok(rows.length > 40)
  // A rebalance that queues nothing is not over before it is stopped.
  t.equal((await run(['setting', 'set', 'queue_rate_for_rebal', '0'])).status, 0)
  for (const row of rows) {
    const cells = row.split(/(?<!\\)\|/)
    const codes = [...(cells[2] ?? '').matchAll(/`([^`]+)`/g)]
    t.ok(codes.length > 0, row)
    for (const [, code = ''] of codes) {
      const script = code.replaceAll('\\|', '|')
      // What needs no shell runs in this process: most of a command's time is its start.
      if (/^omg [\w .:/=-]+$/.test(script)) {
        const { status, stderr } = await run(script.split(' ').slice(1))
        t.equal(status, 0, `${script}: ${stderr}`)
      } else {
        await t.resolves(shell(script, { cwd, env: { ...env, PATH: path } }), script)
      }
    }
  }
})

// Only Linux has many loopback addresses.
const skip = process.platform !== 'linux'

t.test('quickstart.md makes a cluster of three, step by step', { skip }, async t => {
  const folder = await directory(t)
  const { url } = await testDatabase(t)
  const machines = [1, 2, 3].map(number => {
    const home = join(folder, `machine${number}`)
    mkdirSync(home)
    return { address: `127.86.0.${number}`, home }
  })
  const scp = `case "$2" in ${machines.map(({ address, home }) => `${address}:) exec cp "$1" ${home}/ ;;`).join(' ')} *) exit 1 ;; esac`
  const PATH = commandsIn(folder, { omg: omgScript, scp })
  const local = (script: string, home: string): string =>
    script
      .replaceAll('10.0.0.', '127.86.0.')
      .replaceAll('/srv/omgfiles', join(home, 'srv'))
      .replace(/postgres:\/\/\S+/, url)
  const blocks = [
    ...read('docs/quickstart.md').matchAll(/^```sh\n# machine (\d)[^\n]*\n([^]*?)^```$/gm),
  ]
  t.ok(blocks.length >= 9)
  for (const [, number, script = ''] of blocks) {
    const { home } = machines[Number(number) - 1] ?? { home: '' }
    const env = { PATH, HOME: home, OMG_TRACKER_WIRE_LISTEN: '127.86.0.1:7001' }
    const daemon = /^omg (tracker|storage-node) .*-listen (\S+):(\d+)/m.exec(local(script, home))
    if (!daemon) {
      await t.resolves(shell(local(script, home), { cwd: home, env }), script)
      continue
    }
    startDaemon(t, local(script, home), { cwd: home, env })
    await until(`${daemon[1]} listens`, () => answers(daemon[2] ?? '', Number(daemon[3])))
  }
})

function startDaemon(t: Test, script: string, options: { cwd: string; env: NodeJS.ProcessEnv }) {
  const child = spawn('bash', ['-ec', script.replace(/^omg/m, 'exec omg')], {
    ...options,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.teardown(async () => {
    const ended = new Promise(resolve => child.once('exit', resolve))
    if (child.exitCode === null && child.kill('SIGTERM')) await ended
  })
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port })
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('close', () => socket.destroy()).once('connect', () => socket.end())
  })
}

/** Other names of groups of commands, which docs/cli.md does not list. */
const groupAliases: Readonly<Record<string, string>> = {
  hosts: 'host',
  classes: 'class',
  settings: 'setting',
}

t.test('every omg command that a page names is one, with the options that it has', async t => {
  const [common = '', reference = ''] = read('docs/cli.md').split('\n## Commands\n')
  const sections = new Map(
    [...reference.matchAll(/^### omg (.+)\n([^]*?)(?=^##)/gm)].map(([, name = '', text = '']) => [
      name,
      text,
    ]),
  )
  /** What the reference says of a command; of a group only its name is there, so ''. */
  function sectionOf([word = '', next]: readonly string[]): string | undefined {
    const name = groupAliases[word] ?? word
    const isNamed = (alias: string, prefix: string): string | undefined =>
      [...sections].find(
        ([one, text]) => one.startsWith(prefix) && text.includes(`Also \`${alias}\``),
      )?.[1]
    const whole = sections.get(name) ?? isNamed(name, '')
    if (whole !== undefined) return whole
    if (next !== undefined) return sections.get(`${name} ${next}`) ?? isNamed(next, `${name} `)
    return [...sections.keys()].some(one => one.startsWith(`${name} `)) ? '' : undefined
  }
  const pages = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md') && name !== 'cli.md')
    .map(name => `docs/${name}`)
  for (const page of ['README.md', ...pages]) {
    const text = read(page)
    const spans = [
      ...text.matchAll(/`(?:npx )?omg ([^`]+)`/g),
      ...text.matchAll(/^(?:npx )?omg (.+)$/gm),
    ]
    for (const [, span = ''] of spans) {
      const words = span.replace(/ (?:[|>&]|\\\|| #).*$/, '').split(/[\s|…]+/)
      if (/^(tracker|storage-node|reproxy|help|--\w+)$/.test(words[0] ?? '')) continue
      const section = sectionOf(words.filter(word => !word.startsWith('-')))
      t.ok(section !== undefined, `${page}: omg ${span}`)
      for (const word of words.filter(one => one.startsWith('--'))) {
        const option = word.split('=')[0] ?? ''
        const isThere = section?.includes(option) || common.includes(option)
        t.ok(isThere, `${page}: omg ${span}: ${option}`)
      }
    }
  }
})

t.test('the commands of the README work in the folder in which omg up runs', async t => {
  const { cwd, env } = await startSystem(t)
  const PATH = commandsIn(cwd, { npx: `shift; ${omgScript}` })
  writeFileSync(join(cwd, 'cat.jpg'), 'a cat')
  const block = /^```sh\n(npx omg put [^]*?)^```$/m.exec(read('README.md'))
  const { stdout } = await shell(block?.[1] ?? 'false', { cwd, env: { ...env, PATH } })
  t.match(stdout, 'cats/1.jpg')
  t.equal(readFileSync(join(cwd, 'copy.jpg'), 'utf8'), 'a cat')
})
