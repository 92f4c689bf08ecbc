import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createStorageClient, type StorageClient } from '../../client/storage.ts'
import { createLogger } from '../../common/log.ts'
import { replicaPath } from '../../common/layout.ts'
import { createStorageNode } from '../../storage-node/index.ts'
import { directory } from '../helpers/directory.ts'
import { startPeer } from './peer.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const at = (devid: number): string => replicaPath({ devid, fid: 7 })

async function startNode(
  t: Test,
  { devid, sources = '' }: { devid: number; sources?: string },
): Promise<{ origin: string; root: string }> {
  const root = await directory(t)
  mkdirSync(join(root, `dev${devid}`))
  const settings = { listen: '127.0.0.1:0', sideListen: 'off', name: 'n', open: true, sources }
  const log = createLogger('test', { level: 'silent' })
  const node = createStorageNode({ ...settings, root, logLevel: 'silent' }, log)
  await node.start()
  t.teardown(() => node.close())
  return { origin: node.listening()['http']!, root }
}

function client(t: Test): StorageClient {
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  return storage
}

void t.test('a copy goes from node to node, verified', async t => {
  const from = await startNode(t, { devid: 1 })
  const to = await startNode(t, { devid: 2, sources: from.origin })
  const storage = client(t)
  const source = `http://${from.origin}${at(1)}`
  const url = `http://${to.origin}${at(2)}`
  await storage.put(source, Buffer.from('hello'))
  t.same(await storage.copy(url, source, { size: 5, sha256: sha256('hello') }), {
    sha256: sha256('hello'),
  })
  t.equal((await storage.head(url))?.size, 5)
  await storage.remove(url)
  for (const options of [{ size: 6 }, { size: 5, sha256: sha256('other') }]) {
    await t.rejects(storage.copy(url, source, options), { code: 'source_failed' })
  }
  const refused = source.replace(from.origin, '127.0.0.1:1')
  await t.rejects(storage.copy(url, refused, { size: 5 }), { code: 'source_refused' })
  t.equal(await storage.head(url), undefined)
})

void t.test('a node is asked for digests and what it has, and sets bad files aside', async t => {
  const { origin, root } = await startNode(t, { devid: 1 })
  const storage = client(t)
  const url = `http://${origin}${at(1)}`
  await storage.put(url, Buffer.from('hello'))
  const md5 = createHash('md5').update('hello').digest('hex')
  const digests = await storage.digest(url, ['sha256', 'md5'])
  t.same(digests, { size: 5, digest: { sha256: sha256('hello'), md5 } })
  const absent = `http://${origin}${replicaPath({ devid: 1, fid: 8 })}`
  await t.rejects(storage.digest(absent, ['md5']), { code: 'not_found' })

  const listed = []
  const inventory = `http://${origin}/dev1/inventory`
  for await (const file of storage.inventory(inventory, { algorithms: ['md5'] })) listed.push(file)
  t.match(listed, [{ fid: 7, size: 5, mtime: Number, digest: { md5 } }])
  t.same(await storage.inventory(inventory, { after: 7 }).next(), { done: true, value: undefined })

  t.equal(await storage.setAside(url, sha256('hello')), false)
  writeFileSync(join(root, at(1)), 'hellO')
  t.equal(await storage.setAside(url, sha256('hello')), true)
  t.equal(await storage.head(url), undefined)
})

void t.test('a list that breaks off is an error', async t => {
  const peer = await startPeer(t, (request, reply) => {
    if (request.url === '/') {
      reply.end(JSON.stringify({ server: 'omgfiles', capabilities: ['inventory'] }))
      return
    }
    reply.end('{"fid":1,"size":1,"mtime":1}\n')
  })
  const list = client(t).inventory(`${peer.url}/dev1/inventory`)
  t.match(await list.next(), { value: { fid: 1 } })
  await t.rejects(list.next(), { code: 'storage_unreachable' })
})

void t.test('a list may be left in the middle, by the reader or by its signal', async t => {
  const peer = await startPeer(t, (request, reply) => {
    if (request.url === '/') {
      reply.end(JSON.stringify({ server: 'omgfiles', capabilities: ['inventory'] }))
      return
    }
    reply.write('{"fid":1,"size":1,"mtime":1}\n{"fid":2,"si')
  })
  const url = `${peer.url}/dev1/inventory`
  const left = client(t).inventory(url)
  t.match(await left.next(), { value: { fid: 1 } })
  await left.return()
  const abort = new AbortController()
  const aborted = client(t).inventory(url, { signal: abort.signal })
  t.match(await aborted.next(), { value: { fid: 1 } })
  const next = t.rejects(aborted.next())
  abort.abort(new Error('enough'))
  await next
})
