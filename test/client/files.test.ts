import t from 'tap'
import { createClient, isCoded, type FileEntry, type PrefixEntry } from '../../client/index.ts'
import type { FileInfo, FileList } from '../../common/protocol/files.ts'
import { startPeer } from './peer.ts'
import { startStandIn } from './stand-in.ts'

const info = (key: string, keyBytes?: Buffer): FileInfo => ({
  domain: 'photos',
  key,
  ...(keyBytes && { keyBytes: keyBytes.toString('base64url') }),
  fid: 1,
  class: 'default',
  size: 3,
  metadata: {},
  createdAt: '2020-01-02T03:04:05.000Z',
  modifiedAt: '2020-01-02T03:04:05.000Z',
  devids: [1],
})

void t.test('a listing fetches page after page and keeps the order of the keys', async t => {
  const odd = Buffer.from([0x7a, 0xff])
  const pages: FileList[] = [
    { files: [info('a'), info('c')], prefixes: [{ key: 'b/' }], next: 'c%2F' },
    { files: [], prefixes: [], next: 'd' },
    {
      files: [info('z\uFFFD', odd)],
      prefixes: [
        { key: 'e\uFFFD/', keyBytes: Buffer.from([0x65, 0xfe, 0x2f]).toString('base64url') },
      ],
    },
  ]
  const asked: string[] = []
  const { url } = await startPeer(t, (request, reply) => {
    asked.push(request.url ?? '')
    const page = pages[(asked.length - 1) % 3]
    reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(page))
  })
  const client = createClient({ trackers: [url], domain: 'photos' })
  t.teardown(() => client.close())

  const found: (FileEntry | PrefixEntry)[] = []
  for await (const entry of client.list({ delimiter: '/', prefix: 'p ' })) found.push(entry)
  t.same(
    found.map(entry => ('prefix' in entry ? `dir ${entry.prefix}` : entry.key)),
    ['a', 'dir b/', 'c', 'dir e\uFFFD/', 'z\uFFFD'],
  )
  const last = found.at(-1) as FileEntry
  t.ok(odd.equals(last.keyBytes ?? Buffer.alloc(0)))
  t.equal(last.createdAt.getTime(), Date.UTC(2020, 0, 2, 3, 4, 5))
  t.same(asked, [
    '/v1/domains/photos/files?prefix=p%20&delimiter=%2F&limit=1000',
    '/v1/domains/photos/files?prefix=p%20&after=c%2F&delimiter=%2F&limit=1000',
    '/v1/domains/photos/files?prefix=p%20&after=d&delimiter=%2F&limit=1000',
  ])

  asked.length = 0
  pages[0] = { files: [info('a'), info('c'), info('d')], prefixes: [], next: 'd' }
  const some: string[] = []
  for await (const { key } of client.domain('other').list({ limit: 2, after: 'x' })) some.push(key)
  t.same(some, ['a', 'c'])
  t.same(asked, ['/v1/domains/other/files?after=x&limit=2'])
})

void t.test('what an application behind the reproxy answers', async t => {
  const cluster = await startStandIn(t)
  const { client } = cluster
  const { fid, modifiedAt } = await client.put('a', 'hello')
  const { urls, expiresAt } = await client.locate('a')
  t.equal(urls.length, 2)
  t.ok(expiresAt instanceof Date)
  const headers = await client.reproxyHeaders('a')
  t.match(headers, {
    'x-reproxy-url': /^http:\S+ http:\S+$/,
    'x-reproxy-expected-size': '5',
    'content-type': 'application/octet-stream',
    etag: `"${fid}"`,
    'last-modified': modifiedAt.toUTCString(),
    'repr-digest': 'sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:',
  })
  cluster.places = []
  await t.rejects(client.reproxyHeaders('a'), { code: 'no_replica' })
  await t.rejects(client.reproxyHeaders('b'), { code: 'unknown_key' })
})

void t.test('a file that is deleted is not there any more', async t => {
  const { client } = await startStandIn(t)
  await client.put('a', 'hello', { metadata: { by: 'me' } })
  t.equal(await client.exists('a'), true)
  t.match(await client.stat('a'), { key: 'a', size: 5, metadata: { by: 'me' } })
  await client.delete('a')
  t.equal(await client.exists('a'), false)
  try {
    await client.delete('a')
    t.fail('deleted twice')
  } catch (err) {
    t.ok(isCoded(err, 'unknown_key'))
  }
  await client.close()
  await client.close()
  await t.rejects(client.exists('a'), { code: 'tracker_unreachable' })
})
