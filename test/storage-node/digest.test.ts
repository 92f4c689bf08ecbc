import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { signGrant } from '../../common/signing.ts'
import { keys, secret, signed, startNode } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })
const digest = (algorithm: string, bytes: string | Buffer): string =>
  createHash(algorithm).update(bytes).digest('base64')

void t.test('a node reads the digests of a stored file itself', async t => {
  const node = await startNode(t)
  const bytes = randomBytes(2_000_000)
  const wanted = { 'want-repr-digest': 'md5=1, sha=3, sha-256=10, sha-512=5' }
  const put = await node.send('PUT', path, { body: bytes, headers: wanted })
  const all =
    `sha-256=:${digest('sha256', bytes)}:, md5=:${digest('md5', bytes)}:, ` +
    `sha=:${digest('sha1', bytes)}:`
  t.match(put, { status: 201, headers: { 'repr-digest': all } })
  t.match(await node.send('HEAD', path, { headers: wanted }), {
    status: 200,
    headers: { 'repr-digest': all, 'content-length': String(bytes.length) },
  })
  const got = await node.send('GET', path, { headers: { 'want-repr-digest': 'md5' } })
  t.equal(got.headers['repr-digest'], `md5=:${digest('md5', bytes)}:`)
  t.ok(got.body.equals(bytes))
  t.notOk(
    (await node.send('GET', path, { headers: { 'want-repr-digest': 'sha-256=0' } })).headers[
      'repr-digest'
    ],
  )
  t.equal(
    (await node.send('HEAD', replicaPath({ devid: 1, fid: 8 }), { headers: wanted })).status,
    404,
  )
})

void t.test('an upload may name the digest that it must have', async t => {
  const node = await startNode(t)
  const put = (value: string) =>
    node.send('PUT', path, { body: 'hello', headers: { 'repr-digest': value } })
  t.equal((await put(`sha-256=:${digest('sha256', 'hello')}:`)).status, 201)
  t.match(await put(`sha-256=:${digest('sha256', 'other')}:`), { code: 'checksum_mismatch' })
  t.match(await put(`sha=:${digest('sha1', 'other')}:`), { code: 'checksum_mismatch' })
  for (const bad of ['sha-256', 'sha-256=:AA==:', 'sha-256=x']) {
    t.match(await put(bad), { status: 400, code: 'bad_checksum' }, bad)
  }
})

void t.test('a file with a flipped byte is told by its digest, and can be set aside', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'hello' })
  const expected = `sha-256=:${digest('sha256', 'hello')}:`
  const setAside = () => node.send('DELETE', path, { headers: { 'omg-set-aside': expected } })
  const good = await setAside()
  t.equal(good.status, 200)
  t.equal(good.body.toString(), '{"setAside":false}')
  t.equal((await node.send('GET', path)).body.toString(), 'hello', 'a good file stays')
  writeFileSync(join(node.root, path), 'hellO')
  const head = await node.send('HEAD', path, { headers: { 'want-repr-digest': 'sha-256' } })
  t.not(head.headers['repr-digest'], expected)
  t.equal((await setAside()).status, 204)
  t.equal((await node.send('GET', path)).status, 404, 'not served any more')
  t.equal((await setAside()).status, 404)
  t.equal(
    (await node.send('PUT', path, { body: 'hello' })).status,
    201,
    'a good copy takes its place',
  )
  t.match(await node.send('DELETE', path, { headers: { 'omg-set-aside': 'x' } }), { status: 400 })
  t.equal(readFileSync(join(node.root, path), 'utf8'), 'hello')
})

void t.test(
  'a digest for which somebody waits does not wait for those in the background',
  async t => {
    const node = await startNode(t)
    const large = replicaPath({ devid: 1, fid: 8 })
    await node.send('PUT', path, { body: 'hello' })
    writeFileSync(join(node.root, large), '')
    truncateSync(join(node.root, large), 300 * 1024 * 1024) // read for two seconds and more
    const head = (of: string, headers: Record<string, string> = {}) =>
      node.send('HEAD', of, { headers: { 'want-repr-digest': 'sha-256', ...headers } })
    let over = false
    const patient = head(large, { priority: 'u=7' }).finally(() => {
      over = true
    })
    t.equal((await head(path)).headers['repr-digest'], `sha-256=:${digest('sha256', 'hello')}:`)
    t.notOk(over)
    t.equal((await patient).status, 200)
  },
)

void t.test('an inventory lists what is there, and goes on where it was left', async t => {
  const node = await startNode(t, { secret })
  const token = signGrant(
    keys,
    { method: 'GET', devid: 1, object: 'inventory' },
    Math.floor(Date.now() / 1000) + 60,
  )
  const fids = [1, 2, 999, 1000, 1_000_000, 2_000_000_001, 20_000_000_010]
  for (const fid of fids) {
    const file = join(node.root, replicaPath({ devid: 1, fid }))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `file ${fid}`)
  }
  writeFileSync(join(node.root, 'dev1/0/000/000/stray'), 'x')
  writeFileSync(join(node.root, 'dev1/0/000/000/0000001001.fid'), 'not its place')
  const list = async (headers = {}) => {
    const answer = await node.send('GET', `/dev1/inventory?${token}`, { headers })
    t.equal(answer.status, 200)
    return answer.body
      .toString()
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as { fid?: number; size?: number; digest?: string; end?: true })
  }
  const all = await list()
  t.same(all.pop(), { end: true })
  t.same(
    all.map(({ fid }) => fid),
    fids,
  )
  t.equal(all[2]?.size, 'file 999'.length)
  for (const after of [0, 1, 3, 999, 5000, 1_000_000, 2_000_000_001]) {
    const rest = await list({ 'omg-after-fid': String(after) })
    t.same(
      rest.map(({ fid }) => fid).filter(fid => fid !== undefined),
      fids.filter(fid => fid > after),
      `after ${after}`,
    )
  }
  const [first] = await list({ 'want-repr-digest': 'sha-256' })
  t.equal(first?.digest, `sha-256=:${digest('sha256', 'file 1')}:`)
  t.match(
    await node.send('GET', `/dev1/inventory?${token}`, { headers: { 'omg-after-fid': 'x' } }),
    {
      status: 400,
    },
  )
  t.equal((await node.send('GET', '/dev1/inventory')).status, 403)
  t.equal((await node.send('GET', signed('GET', { devid: 1, fid: 1 }))).status, 200)
})
