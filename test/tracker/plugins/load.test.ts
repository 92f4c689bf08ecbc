import { writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loadPlugins } from '../../../tracker/plugins/load.ts'
import { directory } from '../../helpers/directory.ts'

t.test('a module is named by its path from the working directory', async t => {
  const dir = await directory(t)
  const path = join(dir, 'a plugin#1.mjs')
  await writeFile(path, `export const plugin = { name: 'p', commands: { count() {} } }`)
  const { commands, hooks } = await loadPlugins([relative(process.cwd(), path)])
  t.strictSame([...commands.keys()], ['count'])
  t.strictSame(hooks, {})
})

t.test('a module may be TypeScript, and import others that are', async t => {
  const dir = await directory(t)
  await writeFile(
    join(dir, 'names.ts'),
    `export enum Names { Count = 'count' }
    export const isName = (name: string): name is Names => name === Names.Count`,
  )
  const path = join(dir, 'plugin.ts')
  await writeFile(
    path,
    `import { sep } from 'node:path'
    import type { TrackerPlugin } from 'omgfiles/tracker'
    import { isName, Names } from './names.ts'
    const known: boolean = isName('count') satisfies boolean
    export const plugin: TrackerPlugin = { name: 'p', commands: { [Names.Count]: () => ({ known: known ? sep : '' }) } }`,
  )
  const { commands } = await loadPlugins([path])
  t.strictSame(commands.get('count')?.({} as never), { known: '/' })
  const broken = join(dir, 'broken.ts')
  await writeFile(broken, 'export const plugin: = {')
  await t.rejects(loadPlugins([broken]), { message: /^--plugins: .*broken.ts: .*Unexpected/ })
  const absent = loadPlugins([join(dir, 'absent.ts')])
  await t.rejects(absent, { message: /absent.ts: Cannot find module/ })
})

t.test('a hook is called as the method that it is', async t => {
  const dir = await directory(t)
  const path = join(dir, 'p.mjs')
  await writeFile(
    path,
    `export const plugin = {
      name: 'p',
      hooks: { cmd_delete() { return this.file_stored() }, file_stored: () => false },
      commands: { one: () => ({ n: 1 }), two() { return this.one() } },
    }`,
  )
  const { commands, hooks } = await loadPlugins([path])
  const asked = { command: 'delete', address: '', args: {} } as never
  t.equal(hooks.cmd_delete?.(asked), false)
  t.strictSame(commands.get('two')?.(asked), { n: 1 })
})

t.test('a module that cannot be used is refused in one line that names it', async t => {
  const dir = await directory(t)
  const rows: [source: string | undefined, why: RegExp][] = [
    [undefined, /Cannot find module/],
    ['export const plugin = {', /Unexpected/],
    ['throw new Error("no luck\\ntoday")', /no luck$/],
    ['export default { name: "x" }', /exports no plugin$/],
    ['export const plugin = null', /exports no plugin$/],
    ['export const plugin = {}', /its plugin has no name$/],
    [
      'export const plugin = { name: "x", hooks: { slave_list_filter() {} } }',
      /no hook slave_list_filter$/,
    ],
    [
      'export const plugin = { name: "x", hooks: { cmd_delete: 1 } }',
      /the hook cmd_delete is not a function$/,
    ],
    ['export const plugin = { name: "x", commands: { Up() {} } }', /no command can be called Up$/],
    [
      'export const plugin = { name: "x", commands: { up: 1 } }',
      /the command up is not a function$/,
    ],
  ]
  for (const [n, [source, why]] of rows.entries()) {
    const path = join(dir, `p${n}.mjs`)
    if (source !== undefined) await writeFile(path, source)
    await t.rejects(loadPlugins([path]), { name: 'ConfigError', message: why })
    await t.rejects(loadPlugins([path]), { message: new RegExp(`^--plugins: ${path}: .*$`) })
  }
})

t.test('a tracker with such a module ends with status 2', async t => {
  const main = fileURLToPath(new URL('../../../tracker/main.js', import.meta.url))
  const child = spawn(process.execPath, [main, '--plugins', 'none.mjs'], {
    env: {
      ...process.env,
      DATABASE_URL: 'postgres://127.0.0.1:1/none',
      OMG_TRACKER_SECRET: 'test-cluster-secret-of-enough-bytes-0123456789',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const said = text(child.stdout)
  t.strictSame(await once(child, 'close'), [2, null])
  t.match(await said, '--plugins: none.mjs: Cannot find module')
})
