import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { jsonShapes } from '../../../client/cli/json-shapes.ts'
import { runOmg } from './omg.ts'

const page = fileURLToPath(new URL('../../../../docs/cli.md', import.meta.url))

t.test('docs/cli.md is what omg reference prints', async t => {
  const { status, stdout } = await runOmg(['reference'])
  t.equal(status, 0)
  t.equal(readFileSync(page, 'utf8'), stdout, 'omg reference > docs/cli.md brings it up to date')
})

t.test(
  'every shape that help names is told in docs/cli.md, and every one there is named',
  async t => {
    const text = readFileSync(page, 'utf8')
    const [commands = '', shapes = ''] = text.split('\n## JSON\n')
    const said = [...commands.matchAll(/^With `--json`: (.*)\.$/gm)].map(
      ([, answer = '']) => answer,
    )
    const named = new Set(said.join(' ').match(/\b[A-Z][A-Za-z]+\b/g))
    const told = new Set([...shapes.matchAll(/^### (\w+)$/gm)].map(([, name = '']) => name))
    for (const name of told) t.ok(named.has(name), `${name} is named`)
    for (const name of named) {
      if (name in jsonShapes) t.ok(told.has(name), `${name} is told`)
    }
  },
)

const shell = (script: string, words: string): string[] => {
  const args = words.split(' ')
  const { stdout, stderr } = spawnSync(
    'bash',
    [
      '-c',
      `${script}\nCOMP_WORDS=(omg "$@"); COMP_CWORD=$#; _omg; echo "\${COMPREPLY[@]}"`,
      'bash',
      ...args,
    ],
    { encoding: 'utf8' },
  )
  if (stderr !== '') throw new Error(stderr)
  return stdout.trim().split(' ')
}

t.test('bash completes commands, what is below them, and options', async t => {
  const { stdout: script } = await runOmg(['completion', 'bash'])
  t.ok(shell(script, 'st').includes('status'))
  t.same(shell(script, 'host mo'), ['modify'])
  t.same(shell(script, 'put cat.jpg --dur'), ['--durability'])
  t.same(shell(script, 'put cat'), [''], 'which leaves it to the shell, that knows the files')
  t.same(shell(script, 'devices list --ho'), ['--host'])
  t.notOk(shell(script, 'ref').includes('reference'))
})

t.test('there is a script for each shell, and for no other', async t => {
  t.match((await runOmg(['completion', 'zsh'])).stdout, /^#compdef omg\n/)
  const { stdout } = await runOmg(['completion', 'fish'])
  t.match(stdout, /^complete -c omg -n '__omg_at '\\''host'\\''' -f -a 'add' -d '/m)
  t.equal((await runOmg(['completion', 'tcsh'])).status, 2)
})

for (const name of ['zsh', 'fish']) {
  const missing = spawnSync(name, ['--version']).error !== undefined
  const skip = missing && `${name} is not installed`
  t.test(`${name} reads its script without a complaint`, { skip }, async t => {
    const { stdout } = await runOmg(['completion', name])
    const file = join(t.testdir(), 'omg')
    writeFileSync(file, stdout)
    const { status, stderr } = spawnSync(name, ['-n', file], { encoding: 'utf8' })
    t.same({ status, stderr }, { status: 0, stderr: '' })
  })
}
