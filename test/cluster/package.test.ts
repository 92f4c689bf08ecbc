import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { directory } from '../helpers/directory.ts'

t.setTimeout(600_000)

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

t.test('the packed package works in an empty folder', async t => {
  const dir = await directory(t)
  const { stdout } = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', dir],
    { cwd: root, maxBuffer: 64 * 1024 ** 2 },
  )
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  const paths = packed.files.map(({ path }) => path)
  t.notOk(
    paths.some(path => path.startsWith('dist/test/')),
    'it brings no tests',
  )
  t.ok(paths.includes('tracker/migrations/0001_init.sql'))

  await writeFile(join(dir, 'package.json'), '{ "private": true, "type": "module" }')
  await run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', join(dir, packed.filename)],
    {
      cwd: dir,
    },
  )
  const help = await run('npx', ['--no-install', 'omg', '--help'], { cwd: dir })
  t.match(help.stdout, /omg/)
  const program = `
    import { createClient } from 'omgfiles/client'
    const client = createClient({ trackers: ['http://127.0.0.1:1'], domain: 'd', budgetMs: 100 })
    await client.stat('k').catch(err => console.log(err.code))
    await client.close()
  `
  const used = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: dir })
  t.equal(used.stdout, 'tracker_unreachable\n')
})
