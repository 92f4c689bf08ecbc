import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { directory } from '../../helpers/directory.ts'
import { put } from '../wire/files.ts'
import { openTalk, pairsOf } from '../wire/talk.ts'

t.test('the documented plugin does what is said of it', async t => {
  const text = await readFile(new URL('../../../../docs/plugins.md', import.meta.url), 'utf8')
  const [, source = ''] = /```js\n(.*?)```/s.exec(text) ?? []
  const plugins = join(await directory(t), 'office.mjs')
  await writeFile(plugins, source)
  const cluster = await startCluster(t, {
    hosts: 2,
    open: true,
    classes: { scratch: 1 },
    tracker: { plugins },
  })
  const talk = await openTalk(t, cluster.wire)
  const classOf = async (key: string): Promise<string | undefined> =>
    pairsOf(await talk.ask(`file_info domain=test&key=${key}`)).get('class')

  await put(talk, 'x.tmp', 'hello')
  t.equal(await classOf('x.tmp'), 'scratch')
  await put(talk, 'keep/x', 'hello')
  t.equal(await classOf('keep/x'), 'default')
  t.equal(await talk.code('delete domain=test&key=keep/x'), 'plugin_aborted')
  t.equal(await talk.ask('delete domain=test&key=x.tmp'), 'OK ')
  await cluster.settled()
  for (let n = 0; n < 5; n++) {
    const found = pairsOf(await talk.ask('get_paths domain=test&key=keep/x'))
    t.match(found.get('path1'), '/dev1/')
    t.match(found.get('path2'), '/dev2/')
  }
  t.equal(await talk.ask('plugin_add argcount=2&arg1=20&arg2=22'), 'OK sum=42')
})
