import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { Disk, DriveManager } from 'flydrive'
import t from 'tap'
import { OmgfilesDriver } from '../../../client/adapters/flydrive.ts'
import { startCluster } from '../../helpers/cluster.ts'

t.setTimeout(300_000)

void t.test('FlyDrive does with the store what it does with any driver', async t => {
  const { client } = await startCluster(t, { hosts: 2, classes: { single: 1 } })
  const driver = new OmgfilesDriver(client, {
    fields: { class: 'single' },
    urlBuilder: { generateURL: async key => `https://example.org/files/${key}` },
  })
  const manager = new DriveManager({ default: 'omg', services: { omg: () => driver } })
  const disk: Disk = manager.use()

  await t.test('files are written, read and described', async t => {
    await disk.put('a/hello.txt', 'grüße', { contentType: 'text/plain', cacheControl: 'no-store' })
    t.equal(await disk.exists('a/hello.txt'), true)
    t.equal(await disk.exists('a/absent'), false)
    t.equal(await disk.get('a/hello.txt'), 'grüße')
    t.same(Buffer.from(await disk.getBytes('a/hello.txt')), Buffer.from('grüße'))
    t.equal(await text(await disk.getStream('a/hello.txt')), 'grüße')
    t.match(await disk.getMetaData('a/hello.txt'), {
      contentType: 'text/plain',
      contentLength: 7,
      etag: /^"\d+"$/,
      lastModified: Date,
    })
    const { metadata } = await client.stat('a/hello.txt')
    t.same(metadata, { visibility: 'private', cacheControl: 'no-store' })
    t.equal((await client.stat('a/hello.txt')).class, 'single')
    await disk.putStream('a/stream', Readable.from(['a', 'b']), { contentLength: 2 })
    t.equal(await disk.get('a/stream'), 'ab')
    await t.rejects(disk.put('a/stream', 'abc', { contentLength: 2 }), {
      code: 'E_CANNOT_WRITE_FILE',
    })
    t.equal(await disk.get('a/stream'), 'ab', 'what was there stays')
    for (const read of ['get', 'getBytes', 'getStream'] as const) {
      await t.rejects(async () => disk[read]('absent'), { code: 'E_CANNOT_READ_FILE' })
    }
    await t.rejects(disk.getMetaData('absent'), { code: 'E_CANNOT_GET_METADATA' })
    await t.rejects(disk.put('../outside', ''), { code: 'E_PATH_TRAVERSAL_DETECTED' })
  })

  await t.test('visibility is kept, and URLs are made', async t => {
    t.equal(await disk.getVisibility('a/hello.txt'), 'private')
    await disk.setVisibility('a/hello.txt', 'public')
    t.equal(await disk.getVisibility('a/hello.txt'), 'public')
    await disk.put('public', 'x', { visibility: 'public' })
    t.equal(await disk.getVisibility('public'), 'public')
    t.equal(await disk.getUrl('public'), 'https://example.org/files/public')
    t.equal(await (await fetch(await disk.getSignedUrl('public'))).text(), 'x')
    await t.rejects(disk.getSignedUploadUrl('public'), { code: 'E_CANNOT_GENERATE_URL' })
    await t.rejects(new Disk(new OmgfilesDriver(client)).getUrl('public'), {
      code: 'E_CANNOT_GENERATE_URL',
    })
  })

  await t.test('files are copied, moved and deleted', async t => {
    await disk.copy('a/hello.txt', 'b/copy')
    t.equal(await disk.get('b/copy'), 'grüße')
    t.match(await disk.getMetaData('b/copy'), { contentType: 'text/plain' })
    t.equal(await disk.getVisibility('b/copy'), 'public', 'with what is known of them')
    await disk.move('b/copy', 'b/moved')
    t.equal(await disk.exists('b/copy'), false)
    await disk.put('b/other', 'other')
    await disk.move('b/moved', 'b/other')
    t.equal(await disk.get('b/other'), 'grüße', 'over what was there')
    t.equal(await disk.exists('b/moved'), false)
    await t.rejects(disk.copy('absent', 'x'), { code: 'E_CANNOT_COPY_FILE' })
    await t.rejects(disk.move('absent', 'x'), { code: 'E_CANNOT_MOVE_FILE' })
    await disk.delete('b/other')
    await disk.delete('b/other')
    t.equal(await disk.exists('b/other'), false)
  })

  await t.test('directories are listed and deleted', async t => {
    for (const key of ['l/1', 'l/2/a', 'l/2/b', 'l/3', 'll/4']) await disk.put(key, 'x')
    const found = [...(await disk.listAll('l')).objects]
    t.same(
      found.map(entry => (entry.isFile ? entry.key : `${entry.prefix}/`)),
      ['l/1', 'l/2/', 'l/3'],
    )
    const [first] = found
    t.equal(first?.isFile && (await first.get()), 'x')
    const all = await disk.listAll('l', { recursive: true })
    t.same(
      [...all.objects].map(entry => entry.isFile && entry.key),
      ['l/1', 'l/2/a', 'l/2/b', 'l/3'],
    )
    t.equal(all.paginationToken, undefined)
    await disk.deleteAll('l')
    t.equal(await disk.exists('l/2/a'), false)
    t.equal(await disk.exists('ll/4'), true)
    await disk.deleteAll()
    t.same([...(await disk.listAll('', { recursive: true })).objects], [])
  })
})
