import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createClient, type PutBody } from '../../client/index.ts'
import { parseReceipt } from '../../common/signing.ts'
import { replicaPath } from '../../common/layout.ts'
import { bodyOf, deadUrl, startPeer, until } from './peer.ts'
import { startStandIn, type StandIn } from './stand-in.ts'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const byNumber = (devids: readonly number[]): number[] => [...devids].sort((a, b) => a - b)

/** What lies on a node's disk for a fid; undefined when nothing does. */
function stored({ nodes }: StandIn, devid: number, fid: number): Buffer | undefined {
  try {
    return readFileSync(join(nodes[devid - 1]?.root ?? '', replicaPath({ devid, fid })))
  } catch {
    return undefined
  }
}

/** Names of all plain files of all nodes. */
function everyFile({ nodes }: StandIn): string[] {
  return nodes.flatMap(({ root }) =>
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name)),
  )
}

const kilobytes = (n: number): Buffer<ArrayBuffer> =>
  Buffer.from(Array.from({ length: n * 1024 }, (_, i) => i))

/** A node that takes `bytes` of a body and then breaks the connection. */
async function breakingNode(t: Test, bytes: number): Promise<string> {
  const { url } = await startPeer(t, request => {
    let got = 0
    request.on('data', (chunk: Buffer) => {
      got += chunk.length
      if (got >= bytes) request.destroy()
    })
    request.on('error', () => {})
  })
  return url
}

void t.test('a node may answer when it has all bytes, however late the source ends', async t => {
  const { client } = await startStandIn(t)
  async function* slowToEnd() {
    yield Buffer.from('twelve bytes')
    await sleep(300)
  }
  const result = await client.put('late', slowToEnd(), { size: 12 })
  t.equal(result.copies, 2)
})

void t.test('every kind of body arrives whole on as many devices as asked', async t => {
  const cluster = await startStandIn(t)
  const small = kilobytes(4)
  const large = kilobytes(700)
  const file = join(t.testdirName, 'large')
  writeFileSync(file, large)
  async function* pieces() {
    yield large.subarray(0, 5)
    yield Buffer.alloc(0)
    yield large.subarray(5)
  }
  const cases: [string, PutBody, Buffer][] = [
    ['text', 'grüße', Buffer.from('grüße')],
    ['nothing', '', Buffer.alloc(0)],
    ['an empty stream', Readable.from([]), Buffer.alloc(0)],
    ['small bytes', small, small],
    ['large bytes', new Uint8Array(large), large],
    ['a stream', Readable.from([large]), large],
    ['a file stream', createReadStream(file), large],
    ['a file', { file }, large],
    ['a web stream', new Blob([large]).stream(), large],
    ['a blob', new Blob([large]), large],
    ['an iterable', pieces(), large],
    ['a stream of texts', Readable.from(['a', 'b']), Buffer.from('ab')],
  ]
  for (const [name, body, wanted] of cases) {
    const result = await cluster.client.put(`a/${name}`, body)
    t.equal(result.copies, 2, name)
    t.equal(result.size, wanted.length, name)
    t.equal(result.sha256, sha256(wanted), name)
    t.ok(result.createdAt instanceof Date)
    t.same(byNumber(result.devids), [1, 2])
    for (const devid of [1, 2]) t.ok(stored(cluster, devid, result.fid)?.equals(wanted), name)
    t.equal(cluster.commits.at(-1)?.makeCopies, undefined)
  }
  t.equal(cluster.abandoned.length, 0)
})

void t.test('what is said about a file goes with it, the size where it is known', async t => {
  const cluster = await startStandIn(t, { class: 'thumb', durability: 'everywhere' })
  const metadata = { by: 'me' }
  await cluster.client.put('a', 'x', { contentType: 'text/plain', metadata, class: 'big' })
  t.match(cluster.opened.at(-1), {
    key: 'a',
    class: 'big',
    contentType: 'text/plain',
    metadata,
    size: 1,
    durability: 'everywhere',
  })
  await cluster.client.put(Buffer.from([0xff]), Readable.from(['ab']), { size: 2 })
  t.match(cluster.opened.at(-1), { keyBytes: '_w', class: 'thumb', size: 2 })
  await cluster.client.put('b', Readable.from(['ab']), { durability: 'fast' })
  t.equal(cluster.opened.at(-1)?.size, undefined)
  t.equal(cluster.opened.at(-1)?.durability, 'fast')
  const seen: number[] = []
  await cluster.client.put('b', kilobytes(600), { onProgress: ({ sent }) => seen.push(sent) })
  t.equal(seen.at(-1), 600 * 1024)
  t.ok(seen.length > 1)
})

void t.test('a node that is not there is replaced before a byte of the source is read', async t => {
  const cluster = await startStandIn(t)
  const [first, ...others] = cluster.places
  cluster.places = [{ ...first!, origin: await deadUrl() }, ...others]
  for (const body of ['small', kilobytes(300), Readable.from([kilobytes(300)])]) {
    const { devids } = await cluster.client.put('a', body)
    t.same(byNumber(devids), [2, 3])
  }
  t.equal(cluster.abandoned.length, 0)
})

void t.test('a spare on another host is preferred to one on a host that is in use', async t => {
  const cluster = await startStandIn(t, { hosts: 4 })
  const [a, b, c, d] = cluster.places
  cluster.places = [a!, { ...b!, origin: await deadUrl() }, { ...c!, host: a!.host }, d!]
  const { devids } = await cluster.client.put('a', 'x')
  t.same(byNumber(devids), [1, 4])
})

void t.test('with too few nodes left the tracker is asked to make the copies', async t => {
  const cluster = await startStandIn(t, { hosts: 2 })
  cluster.places[1] = { ...cluster.places[1]!, origin: await deadUrl() }
  for (const body of ['small', Readable.from([kilobytes(300)])]) {
    const { devids } = await cluster.client.put('a', body)
    t.same(devids, [1])
    t.equal(cluster.commits.at(-1)?.makeCopies, true)
  }
})

void t.test(
  'a node that breaks in mid-body costs a stream its copy, a file is sent again',
  async t => {
    const cluster = await startStandIn(t)
    const [first, ...others] = cluster.places
    cluster.places = [{ ...first!, origin: await breakingNode(t, 100_000) }, ...others]
    const body = kilobytes(4000)

    const streamed = await cluster.client.put('a', Readable.from([body]))
    t.same(streamed.devids, [2])
    t.equal(cluster.commits.at(-1)?.makeCopies, true)
    t.ok(stored(cluster, 2, streamed.fid)?.equals(body))

    const file = join(t.testdirName, 'file')
    writeFileSync(file, body)
    for (const again of [body, { file }, new Blob([body])]) {
      const { devids, fid } = await cluster.client.put('a', again)
      t.same(byNumber(devids), [2, 3])
      t.equal(cluster.commits.at(-1)?.makeCopies, undefined)
      t.ok(stored(cluster, 3, fid)?.equals(body))
    }
  },
)

void t.test(
  'when every node breaks, a stream fails and what can be sent again is put anew',
  async t => {
    const cluster = await startStandIn(t)
    const good = cluster.places
    const origin = await breakingNode(t, 1)
    cluster.places = good.map(place => ({ ...place, origin }))

    await t.rejects(cluster.client.put('a', Readable.from([kilobytes(900)])), {
      code: 'storage_unreachable',
      cause: AggregateError,
    })
    t.equal(cluster.opened.length, 1)
    t.same(cluster.abandoned, ['u101'])
    t.equal(cluster.commits.length, 0)

    const failing = cluster.client.put('a', kilobytes(900))
    await until(() => cluster.opened.length === 2)
    cluster.places = good
    t.equal((await failing).copies, 2)
  },
)

void t.test('a stream that no node could be connected for is not touched and put anew', async t => {
  const cluster = await startStandIn(t)
  const good = cluster.places
  const origin = await deadUrl()
  cluster.places = good.map(place => ({ ...place, origin }))
  const putting = cluster.client.put('a', Readable.from([kilobytes(300)]))
  await until(() => cluster.abandoned.length === 1)
  cluster.places = good
  t.equal((await putting).copies, 2)
})

void t.test('the code says so when all nodes are full', async t => {
  const cluster = await startStandIn(t)
  const { url } = await startPeer(t, async (request, reply) => {
    await bodyOf(request)
    reply.writeHead(507, { 'content-type': 'application/json' })
    reply.end('{"code":"insufficient_storage","message":"the device is full"}')
  })
  cluster.places = cluster.places.map(place => ({ ...place, origin: url }))
  await t.rejects(cluster.client.put('a', 'x'), { code: 'insufficient_storage' })
  t.equal(cluster.abandoned.length, cluster.opened.length)
})

void t.test('a source that fails, or is not what was said of it, changes nothing', async t => {
  const cluster = await startStandIn(t)
  const broken = new Error('the camera is gone')
  async function* source() {
    yield kilobytes(300)
    throw broken
  }
  const { client } = cluster
  const right = sha256(Buffer.from('x'))
  await t.rejects(client.put('a', source()), broken)
  await t.rejects(client.put('a', createReadStream('/nowhere')), { code: 'ENOENT' })
  await t.rejects(client.put('a', { file: '/nowhere' }), { code: 'ENOENT' })
  const wrongSize = { code: 'size_mismatch' }
  await t.rejects(client.put('a', Readable.from(['abc']), { size: 2 }), wrongSize)
  await t.rejects(client.put('a', Readable.from(['abc']), { size: 4 }), wrongSize)
  await t.rejects(client.put('a', 'abc', { size: 4 }), wrongSize)
  for (const size of [Number.NaN, -1, 1.5]) {
    const stream = Readable.from(['abc'])
    await t.rejects(client.put('a', stream, { size }), { code: 'bad_args' }, `size ${size}`)
    t.ok(stream.destroyed)
  }
  const wrongDigest = { code: 'checksum_mismatch' }
  await t.rejects(client.put('a', 'abc', { sha256: right }), wrongDigest)
  await t.rejects(client.put('a', Readable.from(['abc']), { sha256: right }), wrongDigest)
  await t.rejects(client.put('a', Readable.from([{ no: 'bytes' }])), { code: 'bad_args' })
  await t.rejects(client.put('a', 42 as never), { code: 'bad_args' })
  await t.rejects(client.put('', 'x'), { code: 'no_key' })
  await t.rejects(client.put('x'.repeat(1025), 'x'), { code: 'key_too_long' })
  const progress = { onProgress: () => { throw broken } } // prettier-ignore
  await t.rejects(client.put('a', Readable.from(['abc']), progress), broken)
  t.equal(cluster.commits.length, 0)
  t.equal(cluster.abandoned.length, cluster.opened.length)
  await until(() => everyFile(cluster).length === 0)
  await t.resolves(client.put('a', 'x', { sha256: right.toUpperCase() }))
})

void t.test('an abort ends the put at once, at the nodes too', async t => {
  const cluster = await startStandIn(t)
  const abort = new AbortController()
  const reason = new Error('changed my mind')
  const source = new Readable({ read() {} })
  source.push(kilobytes(300))
  const putting = cluster.client.put('a', source, {
    signal: abort.signal,
    onProgress: () => setImmediate(() => abort.abort(reason)),
  })
  await t.rejects(putting, reason)
  t.ok(source.destroyed)
  t.equal(cluster.commits.length, 0)
  t.same(cluster.abandoned, ['u101'])
  await until(() => everyFile(cluster).length === 0)
  await t.rejects(cluster.client.put('a', 'x', { signal: abort.signal }), reason)
})

void t.test('an upload that was being opened at the abort is given up', async t => {
  const cluster = await startStandIn(t)
  const abort = new AbortController()
  const reason = new Error('changed my mind')
  cluster.onOpen = () => abort.abort(reason)
  await t.rejects(cluster.client.put('a', 'x', { signal: abort.signal }), reason)
  t.same(cluster.abandoned, ['u101'])
})

void t.test('a node that stored other bytes does not count', async t => {
  const cluster = await startStandIn(t)
  const wrong = Buffer.from(sha256(Buffer.from('other bytes')), 'hex').toString('base64')
  const { url } = await startPeer(t, async (request, reply) => {
    await bodyOf(request)
    reply.writeHead(201, { 'repr-digest': `sha-256=:${wrong}:` }).end()
  })
  const [first, ...others] = cluster.places
  cluster.places = [{ ...first!, origin: url }, ...others]
  for (const body of ['x', kilobytes(300)]) {
    t.same(byNumber((await cluster.client.put('a', body)).devids), [2, 3])
  }
})

void t.test('a foreign node counts without a receipt', async t => {
  const cluster = await startStandIn(t)
  const { url } = await startPeer(t, async (request, reply) => {
    await bodyOf(request)
    reply.writeHead(204).end()
  })
  const [first, ...others] = cluster.places
  cluster.places = [{ ...first!, origin: url }, ...others]
  await cluster.client.put('a', 'x')
  const [one, two] = cluster.commits[0]?.copies ?? []
  t.same(byNumber([one, two].flatMap(copy => copy?.devid ?? [])), [1, 2])
  const receipts = [one, two].flatMap(copy => copy?.receipt ?? [])
  t.equal(receipts.length, 1)
  t.equal(parseReceipt(receipts[0] ?? '')?.size, 1)
})

void t.test('an upload that the tracker lost is opened anew where the body allows it', async t => {
  const cluster = await startStandIn(t)
  let lose = true
  const { url } = await startPeer(t, async (request, reply) => {
    const body = await bodyOf(request)
    if (lose && request.url?.endsWith('/commit')) {
      lose = false
      reply.writeHead(404, { 'content-type': 'application/json' })
      reply.end('{"code":"no_upload","message":"no such upload"}')
      return
    }
    const answer = await fetch(cluster.url + request.url, {
      method: request.method ?? '',
      ...(body.length > 0 && { body: new Uint8Array(body) }),
    })
    reply.writeHead(answer.status, { 'content-type': 'application/json' })
    reply.end(await answer.text())
  })
  const client = createClient({ trackers: [url], domain: 'photos' })
  t.teardown(() => client.close())
  t.equal((await client.put('a', 'x')).copies, 2)
  t.equal(cluster.opened.length, 2)
})

void t.test('many puts at once to the same nodes all end', async t => {
  const cluster = await startStandIn(t, { hosts: 2 })
  const puts = Array.from({ length: 100 }, async (_, i) => {
    const order = i % 2 ? [...cluster.places] : [...cluster.places].reverse()
    cluster.places = order
    return cluster.client.put(`k${i}`, Readable.from([kilobytes(80)]))
  })
  for (const { copies } of await Promise.all(puts)) t.equal(copies, 2)
})
