import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadPlugins } from '../../../tracker/plugins/load.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { directory } from '../../helpers/directory.ts'
import { until } from '../../helpers/until.ts'

t.test('files of a class get the replicas that the policy of a plugin asks for', async t => {
  const path = join(await directory(t), 'everywhere.mjs')
  await writeFile(
    path,
    `export const plugin = { name: 'everywhere', policies: {
      Everywhere: ({ candidates }) => candidates.length > 0
        ? { kind: 'copy', to: candidates, ideal: true } : { kind: 'satisfied' } } }`,
  )
  const cluster = await startCluster(t, { hosts: 2, devices: 2, tracker: { plugins: path } })
  await t.rejects(cluster.api.createClass('test', { name: 'strange', replpolicy: 'Nowhere()' }), {
    code: 'invalid_replpolicy',
  })
  await cluster.api.createClass('test', { name: 'all', replpolicy: 'Everywhere()' })
  await cluster.client.put('key', 'hello', { class: 'all' })
  await until('there are four copies', async () => (await cluster.replicas()).length === 4)
})

t.test(
  'a plugin cannot take the name of a policy that is there, nor bring what is none',
  async t => {
    const dir = await directory(t)
    const rows: [policies: string, why: RegExp][] = [
      ['{ MultipleHosts() {} }', /no policy can be called MultipleHosts/],
      ['{ "a b": () => ({}) }', /no policy can be called a b/],
      ['{ Mine: 7 }', /the policy Mine is not a function/],
    ]
    for (const [i, [policies, why]] of rows.entries()) {
      const path = join(dir, `plugin${i}.mjs`)
      await writeFile(path, `export const plugin = { name: 'x', policies: ${policies} }`)
      await t.rejects(loadPlugins([path]), { message: why })
    }
  },
)
