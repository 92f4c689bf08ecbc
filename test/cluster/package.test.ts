import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { directory } from '../helpers/directory.ts'

t.setTimeout(600_000)

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

/** A program that names a type of each public part. */
const typed = `
import { createClient, isCoded, type Files, type PutResult } from 'omgfiles/client'
import { upload, type UploadOptions } from 'omgfiles/browser'

const client = createClient({ trackers: ['http://127.0.0.1:1'], domain: 'd' })
export const files: Pick<Files, 'get' | 'list'> = client
export async function use(file: File, options: UploadOptions<File, string>): Promise<number> {
  const put: PutResult = await client.put('k', file, { metadata: { by: 'me' } })
  const read = await client.get('k', { start: 1 })
  const maybe = await client.get('k', { ifNoneMatch: read.etag })
  // @ts-expect-error: there may be nothing to read
  maybe.size
  for await (const entry of client.list({ delimiter: '/' })) if ('prefix' in entry) continue
  await upload(file, options)
  return isCoded(new Error(), 'unknown_key') ? 0 : put.size
}
`
const typedCommonJs = `
import { createClient } from 'omgfiles/client'
export const client = createClient({ trackers: [], domain: 'd' })
// @ts-expect-error: it needs a domain
createClient({ trackers: [] })
`

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
  const install = { cwd: dir }
  const help = await run('npx', ['--no-install', 'omg', '--help'], install)
  t.match(help.stdout, /omg/)

  await t.test('by import and by require', async t => {
    const use = `
      const client = createClient({ trackers: ['http://127.0.0.1:1'], domain: 'd', budgetMs: 100 })
      const used = client.stat('k').catch(err => console.log(err.code)).then(() => client.close())
    `
    const sources = {
      module: `import { createClient } from 'omgfiles/client'; ${use}; await used`,
      commonjs: `const { createClient } = require('omgfiles/client'); ${use}`,
    }
    for (const [type, source] of Object.entries(sources)) {
      const used = await run(process.execPath, [`--input-type=${type}`, '-e', source], install)
      t.same(used, { stdout: 'tracker_unreachable\n', stderr: '' }, type)
    }
  })

  await t.test('with its types, to the strictest compiler', async t => {
    await writeFile(join(dir, 'types.ts'), typed)
    await writeFile(join(dir, 'types.cts'), typedCommonJs)
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'dom', 'dom.iterable'],
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    }
    const config = { compilerOptions, files: ['types.ts', 'types.cts'] }
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config))
    const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
    const tsc = join(dirname(typescript), 'bin/tsc')
    const { stdout } = await run(process.execPath, [tsc], install).catch((err: unknown) => {
      const { stdout: told, stderr, message } = err as Record<string, string>
      throw new Error([message, told, stderr].join('\n'))
    })
    t.equal(stdout, '')
  })

  await t.test("omg up in an empty folder, and the README's example pasted", async t => {
    const up = spawn(join(dir, 'node_modules/.bin/omg'), ['up', '--json', '--port-base', '0'], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(up, 'exit')
    t.teardown(async () => {
      up.kill('SIGTERM')
      await ended
    })
    const [line] = (await once(createInterface({ input: up.stdout }), 'line')) as [string]
    const { http } = JSON.parse(line) as { http: string }
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const [, example = ''] = /^```js\n(import [^]*?createClient[^]*?)^```$/m.exec(readme) ?? []
    const lines = example.replace('http://127.0.0.1:7002', http)
    t.not(lines, example)
    await writeFile(join(dir, 'example.mjs'), lines)
    const used = await run(process.execPath, ['example.mjs'], install)
    t.equal(used.stderr, '')
    t.match(used.stdout, /^4 meow\ncats\/1\.txt 4\n\{[^]*'x-reproxy-url': '[^]*\}\n$/)
  })
})
