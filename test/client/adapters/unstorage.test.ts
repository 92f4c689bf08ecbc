import t from 'tap'
import { createStorage, prefixStorage, restoreSnapshot, snapshot } from 'unstorage'
import { unstorageDriver } from '../../../client/adapters/unstorage.ts'
import { startCluster } from '../../helpers/cluster.ts'

t.setTimeout(300_000)

void t.test('unstorage does with the store what it does with any driver', async t => {
  const { client } = await startCluster(t, { hosts: 2 })
  await client.put('outside', 'x')
  const driver = unstorageDriver(client, { prefix: 'nitro/' })
  const storage = createStorage({ driver })

  await storage.setItem('s1:a', 'test_data')
  await storage.setItem('s2:a', 'test_data')
  await storage.setItem('s3:a?q=1', 'test_data')
  t.equal(await storage.hasItem('s1:a'), true)
  t.equal(await storage.hasItem('s1:b'), false)
  t.equal(await storage.getItem('s1:a'), 'test_data')
  t.equal(await storage.getItem('absent'), null)
  t.equal(await storage.getItemRaw('absent'), null)
  t.equal(await (await client.get('nitro/s1/a')).text(), 'test_data', 'colons are slashes')

  t.same((await storage.getKeys()).sort(), ['s1:a', 's2:a', 's3:a'])
  t.same(await storage.getKeys('s1'), ['s1:a'])
  t.same(await storage.getKeys('s'), [])

  for (const value of [{ json: [1, 'ü'] }, [], 1, true, false, 0]) {
    await storage.setItem('value', value)
    t.same(await storage.getItem('value'), value)
  }
  await storage.setItem('value', undefined as never)
  t.equal(await storage.hasItem('value'), false, 'undefined removes')

  const bytes = new Uint8Array([1, 2, 255, 0])
  await storage.setItemRaw('raw', bytes)
  t.same(new Uint8Array((await storage.getItemRaw<Uint8Array>('raw'))!), bytes)
  await storage.setItemRaw('raw', bytes.buffer, { contentType: 'a/b' })
  t.same(new Uint8Array((await storage.getItemRaw<Uint8Array>('raw'))!), bytes)
  t.match(await storage.getMeta('raw'), { size: 4, contentType: 'a/b', mtime: Date })
  await storage.setMeta('raw', { who: 'me' })
  t.match(await storage.getMeta('raw'), { size: 4, who: 'me' })

  await storage.setItems([
    { key: 'many:1', value: 'x' },
    { key: 'many:2', value: 'y' },
  ])
  t.same(await storage.getItems(['many:1', 'many:2', 'many:3']), [
    { key: 'many:1', value: 'x' },
    { key: 'many:2', value: 'y' },
    { key: 'many:3', value: null },
  ])

  const part = prefixStorage(storage, 'many')
  t.same((await part.getKeys()).sort(), ['1', '2'])
  const taken = await snapshot(storage, 'many')
  storage.mount('mounted', unstorageDriver(client, { prefix: 'mounted/' }))
  await restoreSnapshot(storage, taken, 'mounted')
  t.equal(await storage.getItem('mounted:2'), 'y')
  t.equal(await client.exists('mounted/2'), true)
  await storage.clear('mounted')
  t.same(await storage.getKeys('mounted'), [])
  t.equal(await storage.hasItem('many:2'), true)
  await storage.unmount('mounted')

  await storage.removeItem('s1:a')
  await storage.removeItem('s1:a')
  t.equal(await storage.hasItem('s1:a'), false)
  await storage.clear()
  t.same(await storage.getKeys(), [])
  t.equal(await client.exists('outside'), true, 'nothing beside its prefix is touched')
  await storage.dispose()
})
