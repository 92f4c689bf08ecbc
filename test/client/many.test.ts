import t from 'tap'
import { startCluster } from '../helpers/cluster.ts'
import { createCall } from '../tracker/http/calls.ts'

t.setTimeout(300_000)

void t.test('many files are located and deleted together', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  const { client, api } = cluster
  const odd = Buffer.from([0x7a, 0xff])
  const keys = Array.from({ length: 25 }, (_, i) => `many/${i}`)
  await Promise.all([...keys, odd].map(key => client.put(key, 'x')))

  await t.test('in their order, with a gap for each that is not there', async t => {
    const found = []
    for await (const file of client.locateMany(['many/3', 'absent', odd, 'many/3'])) {
      found.push(file)
    }
    t.same(
      found.map(file => file?.key),
      ['many/3', undefined, 'z\uFFFD', 'many/3'],
    )
    const [url] = found[0]?.urls ?? []
    t.equal(await (await fetch(url ?? '')).text(), 'x')
    t.ok((found[0]?.expiresAt.getTime() ?? 0) > Date.now())
    for await (const _ of client.locateMany([])) t.fail('nothing was asked for')
  })

  await t.test('from a listing, and it says how many', async t => {
    const files = client.list({ prefix: 'many/1' })
    t.same(await client.deleteMany(files), { deleted: 11, missing: 0 })
    t.equal(await client.exists('many/1'), false)
    t.equal(await client.exists('many/2'), true)
    t.same(await client.deleteMany([...keys, odd, 'many/2']), { deleted: 15, missing: 12 })
    for await (const { key } of client.list()) t.fail(`${key} is left`)
    t.same(await client.deleteMany([]), { deleted: 0, missing: 0 })
  })

  await t.test('a key that is none stops it before the batch', async t => {
    await client.put('stays', 'x')
    await t.rejects(client.deleteMany(['stays', '']), { code: 'no_key' })
    await t.rejects(client.deleteMany('stays'), { code: 'bad_args' })
    t.equal(await client.exists('stays'), true)
    await t.rejects(client.domain('absent').deleteMany(['stays']), { code: 'unreg_domain' })
  })

  await t.test('the routes refuse what they cannot understand', async t => {
    const call = createCall(cluster.http, cluster.token)
    const path = '/v1/domains/test/batch/delete'
    const tooMany = Array.from({ length: 1001 }, () => ({ key: 'a' }))
    for (const json of [{}, { keys: [] }, { keys: tooMany }, { keys: ['a'] }, { keys: [{ k: 1 }] }])
      t.equal((await call('POST', path, { json })).code, 'bad_request')
    const mixed = await call('POST', path, {
      json: { keys: [{ key: '' }, { key: 'absent' }, { key: 'x'.repeat(1025) }, { key: 'stays' }] },
    })
    t.match(mixed.json(), {
      results: [
        { code: 'no_key' },
        { code: 'unknown_key' },
        { code: 'key_too_long' },
        { deleted: true },
      ],
    })
    const reader = await api.createToken({ name: 'reader', scope: 'read', domain: 'test' })
    const json = { keys: [{ key: 'a' }] }
    t.equal((await call('POST', path, { json, token: reader.token })).code, 'forbidden')
    t.equal((await call('POST', path, { json, token: null })).code, 'unauthorized')
    const locate = '/v1/domains/test/batch/locate'
    t.equal((await call('POST', locate, { json, token: reader.token })).status, 200)
  })
})

void t.test('an upload can be made by somebody else', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  const { client } = cluster
  const ticket = await client.signedPut('theirs', { size: 5, contentType: 'text/plain' })
  t.same(Object.keys(ticket).sort(), ['expiresAt', 'size', 'targets', 'upload'])
  const [target] = ticket.targets
  async function put(text: string, url = target!.url): Promise<string> {
    const answer = await fetch(url, { method: 'PUT', body: text })
    return answer.headers.get('omg-receipt') ?? ''
  }
  t.equal(await client.exists('theirs'), false, 'nothing is there before the commit')
  const receipt = await put('hello')
  const stored = { upload: ticket.upload, receipt }
  for (const bad of ['', 'r1.1.1.5.x', undefined as unknown as string])
    await t.rejects(client.commitPut({ ...stored, receipt: bad }), { code: 'bad_args' })
  const forged = receipt.slice(0, -4) + 'AAAA'
  await t.rejects(client.commitPut({ ...stored, receipt: forged }), { code: 'bad_receipt' })
  const put1 = await client.commitPut(stored)
  t.match(put1, { key: 'theirs', size: 5, copies: 2, contentType: 'text/plain' })
  t.equal(put1.devids.length, 2, 'the copy was made from node to node')
  t.same(await client.commitPut(stored), put1)
  t.equal(await (await client.get('theirs')).text(), 'hello')

  const { url, expiresAt } = await client.signedGet('theirs')
  t.equal(await (await fetch(url)).text(), 'hello')
  t.ok(expiresAt.getTime() > Date.now())

  const short = await client.signedPut('short', { size: 5 })
  const shortReceipt = await put('hell', short.targets[0]!.url)
  await t.rejects(client.commitPut({ upload: short.upload, receipt: shortReceipt }), {
    code: 'size_mismatch',
  })
  await client.abandonPut(short.upload)
  await client.abandonPut(short.upload)
  t.equal(await client.exists('short'), false)
})
