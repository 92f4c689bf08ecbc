/** Whole files are held to the digest that the application gives, where that is switched on. */
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { client, fetchRaw, fileNode, fileProxy, type ProxyConfig } from './peers.ts'

/** Two replicas of one length, the first of them with a wrong byte, and a proxy before them. */
async function start(t: Test, file: Buffer, config: ProxyConfig & { path?: string; only?: 'bad' }) {
  const { path = '/x', only, ...rest } = config
  const spoilt = Buffer.from(file)
  spoilt[file.length >> 1]! ^= 1
  const [bad, good] = [await fileNode(t, spoilt), await fileNode(t, file)]
  const list = only ? bad.url(path) : `${bad.url(path)} ${good.url(path)}`
  const sha256 = createHash('sha256').update(file).digest('base64')
  const fields = { 'Repr-Digest': `md5=:AAAA:, sha-256=:${sha256}:` }
  const proxy = await fileProxy(t, list, { ports: [bad.port, good.port], fields, ...rest })
  return { ...proxy, spoilt }
}

const small = Buffer.alloc(100_000, 'small ')
const large = Buffer.alloc(1_000_000, 'large ')
const fidPath = '/dev1/0/000/000/0000000001.fid'

t.test('instead of a wrong replica the next one is served, cached or not', async t => {
  for (const path of ['/x', fidPath]) {
    const { port, lines } = await start(t, small, { verifyReads: true, path })
    for (let i = 0; i < 2; i++) {
      const { status, body } = await fetchRaw(t, port)
      t.equal(status, 200)
      t.ok(body.equals(small), path)
    }
    t.match(JSON.stringify(lines), 'body digest')
  }
})

t.test('with no other replica the answer is 503', async t => {
  for (const path of ['/x', fidPath]) {
    const { port } = await start(t, small, { verifyReads: true, path, only: 'bad' })
    t.equal((await fetchRaw(t, port)).status, 503)
  }
})

t.test('a large wrong file never gets complete', async t => {
  const { port } = await start(t, large, { verifyReads: true })
  const raw = client(t, port)
  raw.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const got = (await raw.end()).toString('latin1')
  t.match(got, `Content-Length: ${large.length}\r\n`)
  t.ok(got.length > large.length / 2 && got.length < large.length)
})

t.test('a part, and everything while it is off, is passed on as it comes', async t => {
  const on = await start(t, small, { verifyReads: true })
  const part = await fetchRaw(t, on.port, { fields: 'Range: bytes=0-9\r\n' })
  t.strictSame([part.status, part.body.toString()], [206, 'small smal'])
  const off = await start(t, small, {})
  t.ok((await fetchRaw(t, off.port)).body.equals(off.spoilt))
})
