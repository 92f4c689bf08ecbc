import { Readable } from 'node:stream'
import t from 'tap'
import { createClient } from '../../client/index.ts'
import { startCluster } from '../helpers/cluster.ts'

t.setTimeout(300_000)

t.test('a put whose tracker goes away before the commit is finished on another, once', async t => {
  const cluster = await startCluster(t, { hosts: 2, trackers: 2 })
  const urls = cluster.trackers.map(tracker => `http://${tracker.listening()['http']}`)
  const [dying, ...others] = cluster.trackers
  // Asked in turn, the one that dies would get the commit too.
  const client = createClient({ trackers: urls, token: cluster.token, domain: 'test' })
  t.teardown(() => client.close())
  await client.put('key', 'before')

  async function* body() {
    yield Buffer.alloc(1_000_000)
    await dying!.close()
    yield Buffer.alloc(1_000_000)
  }
  const put = await client.put('key', Readable.from(body()))
  t.match(put, { size: 2_000_000, copies: 2 })

  t.equal((await client.stat('key')).fid, put.fid)
  const found = []
  for await (const { key } of client.list()) found.push(key)
  t.same(found, ['key'])
  const { openUploads } = await client.api.status()
  t.equal(openUploads, 0, 'no upload is left open')
  t.equal(others.length, 1)
})
