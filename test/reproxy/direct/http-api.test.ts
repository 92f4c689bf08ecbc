import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { fetchRaw, startProxy } from '../peers.ts'

t.test('direct mode over the HTTP API also knows type, class and disposition', async t => {
  const cluster = await startCluster(t, { hosts: 2, classes: { thumbnail: 2 } })
  const { client } = cluster
  await client.put('no/extension', 'file bytes', {
    class: 'thumbnail',
    contentType: 'image/x-odd',
    metadata: { 'content-disposition': 'attachment; filename="a.odd"' },
  })
  await client.put('plain.txt', 'text')
  const proxy = await startProxy(t, 1, {
    tracker: [cluster.http],
    trackerToken: cluster.token,
    direct: {
      prefix: '/files',
      trackers: [cluster.http],
      token: cluster.token,
      publicDomains: ['test'],
      cacheControl: { '*': 'private', thumbnail: 'public, max-age=86400' },
    },
  })

  const odd = await fetchRaw(t, proxy.port, { target: '/files/test/no/extension' })
  t.equal(odd.status, 200)
  t.equal(odd.body.toString(), 'file bytes')
  t.equal(odd.field('content-type'), 'image/x-odd')
  t.equal(odd.field('content-disposition'), 'attachment; filename="a.odd"')
  t.equal(odd.field('cache-control'), 'public, max-age=86400')
  t.equal(odd.field('x-content-type-options'), 'nosniff')

  const etag = odd.field('etag') ?? ''
  const again = await fetchRaw(t, proxy.port, {
    target: '/files/test/no/extension',
    fields: `If-None-Match: ${etag}\r\n`,
  })
  t.equal(again.status, 304)
  const part = await fetchRaw(t, proxy.port, {
    target: '/files/test/no/extension',
    fields: `Range: bytes=5-\r\nIf-Range: ${etag}\r\n`,
  })
  t.match([part.status, part.body.toString()], [206, 'bytes'])

  const plain = await fetchRaw(t, proxy.port, { target: '/files/test/plain.txt' })
  t.match(plain.field('content-type'), /^text\/plain/)
  t.equal(plain.field('cache-control'), 'private')
  t.equal((await fetchRaw(t, proxy.port, { target: '/files/test/unknown' })).status, 404)
  t.equal((await fetchRaw(t, proxy.port, { target: '/files/other/plain.txt' })).status, 404)
})
