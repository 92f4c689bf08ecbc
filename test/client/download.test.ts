import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { deadUrl, startPeer, until } from './peer.ts'
import { startStandIn, type StandIn } from './stand-in.ts'

const bytes = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i * 7))

/** A cluster with the file `big` on devices 1 and 2, and 1 is read first. */
async function withFile(t: Test): Promise<StandIn & { fid: number }> {
  const cluster = await startStandIn(t)
  const { fid } = await cluster.client.put('big', bytes, { contentType: 'image/jpeg' })
  return Object.assign(cluster, { fid })
}

/** Puts another server in the place of a device. */
function replace(cluster: StandIn, devid: number, origin: string): void {
  cluster.places = cluster.places.map(p => (p.devid === devid ? { ...p, origin } : p))
}

/** A node that sends `sent` bytes of an answer of the right length and breaks off. */
async function breakingNode(t: Test, sent: number): Promise<string> {
  const { url } = await startPeer(t, (request, reply) => {
    const first = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    reply.writeHead(200, { 'content-length': bytes.length })
    reply.write(bytes.subarray(first, first + sent), () => setImmediate(() => reply.destroy()))
  })
  return url
}

/** Overwrites a replica on disk with other bytes of the same length. */
function corrupt({ nodes }: StandIn, devid: number, fid: number): void {
  const wrong = Buffer.from(bytes)
  wrong[500_000] = 255 - (wrong[500_000] ?? 0)
  writeFileSync(join(nodes[devid - 1]?.root ?? '', replicaPath({ devid, fid })), wrong)
}

void t.test('a file is read in every form', async t => {
  const cluster = await withFile(t)
  const { client } = cluster
  const file = await client.get('big')
  t.equal(file.size, bytes.length)
  t.equal(file.contentType, 'image/jpeg')
  t.same(file.range, { start: 0, end: bytes.length })
  t.ok(file.createdAt instanceof Date)
  t.notOk('urls' in file)
  t.ok((await buffer(file.body)).equals(bytes))
  await t.rejects(file.text(), TypeError)
  await t.rejects(file.bytes(), TypeError)

  t.ok(bytes.equals(await (await client.get('big')).bytes()))
  const web = (await client.get('big')).stream()
  t.ok((await buffer(web)).equals(bytes))
  const blob = await (await client.get('big')).blob()
  t.equal(blob.type, 'image/jpeg')
  t.equal(blob.size, bytes.length)
  await client.put('json', '{"a":[1]}')
  t.equal(await (await client.get('json')).text(), '{"a":[1]}')
  t.same(await (await client.get('json')).json(), { a: [1] })
  await client.put('empty', '')
  t.equal(await text((await client.get('empty')).body), '')
  t.equal((await (await client.get('empty')).bytes()).length, 0)
  await t.rejects(client.get('nothing'), { code: 'unknown_key' })
})

void t.test('a replica that breaks before anybody reads is followed by another', async t => {
  const cluster = await withFile(t)
  let broken = false
  const { url } = await startPeer(t, (_request, reply) => {
    reply.once('close', () => (broken = true))
    reply.writeHead(200, { 'content-length': bytes.length })
    reply.write(bytes.subarray(0, 1000), () => setImmediate(() => reply.destroy()))
  })
  replace(cluster, 1, url)
  const [whole, streamed] = [await cluster.client.get('big'), await cluster.client.get('big')]
  await until(() => broken)
  await new Promise(resolve => setTimeout(resolve, 50)) // for the news to come here
  t.ok(bytes.equals(await whole.bytes()))
  t.ok((await buffer(streamed.body)).equals(bytes))
})

void t.test('a part of a file is read from start up to end, exclusive', async t => {
  const { client } = await withFile(t)
  const part = async (start?: number, end?: number): Promise<Buffer> =>
    buffer((await client.get('big', { start, end })).body)
  t.ok((await part(10, 20)).equals(bytes.subarray(10, 20)))
  t.ok((await part(999_990)).equals(bytes.subarray(999_990)))
  t.ok((await part(undefined, 5)).equals(bytes.subarray(0, 5)))
  t.ok((await part(999_990, 5_000_000)).equals(bytes.subarray(999_990)))
  t.equal((await part(7, 7)).length, 0)
  t.equal((await part(1_000_000)).length, 0)
  t.equal((await (await client.get('big', { start: 1, end: 3 })).bytes()).length, 2)
  await t.rejects(part(1_000_001), { code: 'range_not_satisfiable' })
  for (const [start, end] of [[-1], [2, 1], [0.5], [Number.NaN]]) {
    await t.rejects(part(start, end), { code: 'bad_args' })
  }
})

void t.test('a replica that does not answer is followed by the next', async t => {
  const cluster = await withFile(t)
  replace(cluster, 1, await deadUrl())
  t.ok((await buffer((await cluster.client.get('big')).body)).equals(bytes))
  const { url } = await startPeer(t, (_request, reply) => {
    reply.writeHead(200, { 'content-length': 3 }).end('abc')
  })
  replace(cluster, 1, url)
  const { body } = await cluster.client.get('big')
  t.ok((await buffer(body)).equals(bytes), 'another length is another file')
})

void t.test('a read that breaks off goes on from another replica at the exact offset', async t => {
  const cluster = await withFile(t)
  replace(cluster, 1, await breakingNode(t, 300_000))
  t.ok((await buffer((await cluster.client.get('big')).body)).equals(bytes))
  t.ok(bytes.equals(await (await cluster.client.get('big')).bytes()))
})

void t.test('the tracker is asked again when all replicas have failed', async t => {
  const cluster = await withFile(t)
  const good = cluster.places
  const dead = await deadUrl()
  for (const place of good) replace(cluster, place.devid, dead)
  const located = cluster.located.length
  await t.rejects(cluster.client.get('big'), { code: 'no_replica', cause: AggregateError })
  t.equal(cluster.located.length, located + 3)

  const breaking = await breakingNode(t, 300_000)
  for (const place of good) replace(cluster, place.devid, breaking)
  const { body } = await cluster.client.get('big')
  cluster.places = good
  t.ok((await buffer(body)).equals(bytes))
})

void t.test('a file that is replaced while it is read is never mixed', async t => {
  const cluster = await withFile(t)
  const good = cluster.places
  const breaking = await breakingNode(t, 300_000)
  for (const place of good) replace(cluster, place.devid, breaking)
  const { body } = await cluster.client.get('big')
  cluster.places = good
  await cluster.client.put('big', Buffer.alloc(bytes.length))
  await t.rejects(buffer(body), { code: 'no_replica' })
})

void t.test('wrong bytes are an error of the stream before its last piece', async t => {
  const cluster = await withFile(t)
  corrupt(cluster, 1, cluster.fid)
  const { body } = await cluster.client.get('big')
  let got = 0
  const reading = async (): Promise<void> => {
    for await (const chunk of body as AsyncIterable<Buffer>) got += chunk.length
  }
  await t.rejects(reading(), { code: 'checksum_mismatch' })
  t.ok(got < bytes.length)
  await until(() => cluster.reports.length === 1)
  const trusting = await cluster.client.get('big', { verify: false })
  t.equal((await buffer(trusting.body)).length, bytes.length)
})

void t.test('a file read into memory comes from a replica with the right bytes', async t => {
  const cluster = await withFile(t)
  corrupt(cluster, 1, cluster.fid)
  t.ok(bytes.equals(await (await cluster.client.get('big')).bytes()))
  const { fid } = cluster
  await until(() => cluster.reports.length === 1)
  t.same(cluster.reports, [{ devid: 1, fid, problem: 'digest' }], 'the tracker is told')
  t.ok(bytes.equals(await (await cluster.client.get('big')).bytes()))
  t.equal(cluster.reports.length, 1, 'once')
  corrupt(cluster, 2, cluster.fid)
  await t.rejects((await cluster.client.get('big')).bytes(), { code: 'checksum_mismatch' })
})

void t.test('an abort ends a read, and so does leaving it', async t => {
  const cluster = await withFile(t)
  const open: string[] = []
  const { url } = await startPeer(t, (_request, reply) => {
    open.push('open')
    reply.on('close', () => open.pop())
    reply.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 1000))
  })
  replace(cluster, 1, url)
  const abort = new AbortController()
  const reason = new Error('changed my mind')
  const { signal } = abort

  const reading = buffer((await cluster.client.get('big', { signal })).body)
  const waiting = (await cluster.client.get('big', { signal })).bytes()
  const untouched = await cluster.client.get('big', { signal })
  t.equal(open.length, 3)
  abort.abort(reason)
  await t.rejects(reading, reason)
  await t.rejects(waiting, reason)
  await t.rejects(untouched.text(), reason)
  await t.rejects(cluster.client.get('big', { signal }), reason)
  await until(() => open.length === 0)

  const left = await cluster.client.get('big')
  for await (const chunk of left.body) {
    t.ok(chunk)
    break
  }
  ;(await cluster.client.get('big')).body.destroy()
  await until(() => open.length === 0)
})

void t.test('files can be copied from get to put, many at a time', async t => {
  const cluster = await withFile(t)
  const copies = Array.from({ length: 50 }, async (_, i) => {
    const file = await cluster.client.get('big')
    return cluster.client.put(`copy${i}`, file.body, { size: file.size })
  })
  for (const { size } of await Promise.all(copies)) t.equal(size, bytes.length)
  t.ok(readdirSync(cluster.nodes[0]?.root ?? '', { recursive: true }).length > 50)
  await t.rejects(cluster.client.put('x', Readable.from([]), { size: 1 }), {
    code: 'size_mismatch',
  })
})
