import t from 'tap'
import { startStandIn } from './stand-in.ts'

void t.test('a read that the caller need not make is not made', async t => {
  const { client, located } = await startStandIn(t)
  const { etag, fid, modifiedAt } = await client.put('a', 'hello')
  t.equal(etag, `"${fid}"`)
  const hourMs = 3600_000
  const same = [
    { ifNoneMatch: etag },
    { ifNoneMatch: `"x", W/${etag}` },
    { ifNoneMatch: '*' },
    { ifModifiedSince: new Date() },
    { ifModifiedSince: modifiedAt.toUTCString() },
    { ifNoneMatch: etag, ifModifiedSince: new Date(0) },
  ]
  for (const conditions of same) {
    located.length = 0
    t.equal(await client.get('a', conditions), undefined, JSON.stringify(conditions))
    t.equal(located.length, 1, 'the tracker is asked, no node')
  }
  const other = [
    { ifNoneMatch: '"x"' },
    { ifNoneMatch: '"x"', ifModifiedSince: new Date() },
    { ifModifiedSince: new Date(modifiedAt.getTime() - hourMs) },
    { ifModifiedSince: 'no date' },
    { ifMatch: etag },
    { ifMatch: `"x", ${etag}` },
    { ifMatch: '*' },
  ]
  for (const conditions of other) {
    const file = await client.get('a', conditions)
    t.equal(await file?.text(), 'hello', JSON.stringify(conditions))
  }
  await t.rejects(client.get('a', { ifMatch: '"x"' }), { code: 'precondition_failed' })
  await t.rejects(client.get('a', { ifMatch: `W/${etag}` }), { code: 'precondition_failed' })
  await t.rejects(client.get('b', { ifNoneMatch: '*' }), { code: 'unknown_key' })
})

void t.test('a file is the answer of a web handler, whole or in part', async t => {
  const { client } = await startStandIn(t)
  const { etag, modifiedAt } = await client.put('a', 'hello', { contentType: 'text/plain' })
  const whole = (await client.get('a')).response({ 'cache-control': 'no-store' })
  t.equal(whole.status, 200)
  t.same(Object.fromEntries(whole.headers), {
    'accept-ranges': 'bytes',
    'cache-control': 'no-store',
    'content-length': '5',
    'content-type': 'text/plain',
    etag,
    'last-modified': modifiedAt.toUTCString(),
  })
  t.equal(await whole.text(), 'hello')
  const part = (await client.get('a', { start: 1, end: 3 })).response({ 'content-type': 'a/b' })
  t.equal(part.status, 206)
  t.match(Object.fromEntries(part.headers), {
    'content-range': 'bytes 1-2/5',
    'content-length': '2',
  })
  t.equal(part.headers.get('content-type'), 'a/b')
  t.equal(await part.text(), 'el')
  await client.put('nothing', '')
  t.equal((await client.get('nothing')).response().status, 200)
})

void t.test('what the browser and fetch know of a body goes with it', async t => {
  const { client } = await startStandIn(t)
  const file = new File(['hello'], 'a.txt', { type: 'text/plain' })
  t.match(await client.put('file', file), { size: 5, contentType: 'text/plain' })
  const given = await client.put('given', file, { contentType: 'text/html' })
  t.equal(given.contentType, 'text/html')
  const answer = new Response('{}', {
    headers: { 'content-type': 'application/json', 'content-length': '2' },
  })
  t.match(await client.put('answer', answer), { size: 2, contentType: 'application/json' })
  t.same(await (await client.get('answer')).json(), {})
  t.match(await client.put('empty', new Response(null)), { size: 0 })
  t.match(await client.put('copy', (await client.get('file')).response()), {
    size: 5,
    contentType: 'text/plain',
  })
  await t.rejects(client.put('bad', new Response('gone', { status: 404 })), { code: 'bad_args' })
  t.equal(await client.exists('bad'), false)
})
