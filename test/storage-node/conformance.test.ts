/** What every server must do that stands in the place of a storage node, asked of ours and of nginx. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createStorageClient } from '../../client/storage.ts'
import { replicaPath } from '../../common/layout.ts'
import { directory } from '../helpers/directory.ts'
import { noNginx, startNginx } from './nginx.ts'
import { exchange, send, startNode } from './node.ts'

interface Server {
  readonly port: number
  readonly root: string
  /** It has abilities beyond WebDAV. */
  readonly ours: boolean
}

const path = replicaPath({ devid: 1, fid: 1_234_567_890 })

const servers: [name: string, skip: string | false, start: (t: Test) => Promise<Server>][] = [
  [
    'omgfiles',
    false,
    async t => {
      const root = await directory(t)
      const { port } = await startNode(t, { root })
      return { port, root, ours: true }
    },
  ],
  [
    'nginx',
    noNginx,
    async t => {
      const root = await directory(t)
      const { port } = await startNginx(t, root, [1, 2])
      return { port, root, ours: false }
    },
  ],
]

const promises: [promise: string, check: (t: Test, server: Server) => Promise<void>][] = [
  [
    'what is put under a new name is read back, directories being made on the way',
    async (t, { port }) => {
      const body = randomBytes(300_000)
      t.match(await send(port, 'PUT', path, { body }), { status: 201 })
      const got = await send(port, 'GET', path)
      t.match(got, { status: 200, headers: { 'content-length': '300000' } })
      t.ok(got.body.equals(body))
      t.match(await send(port, 'HEAD', path), {
        status: 200,
        headers: { 'content-length': '300000' },
      })
    },
  ],
  [
    'an empty file has a length',
    async (t, { port }) => {
      t.ok([201, 204].includes((await send(port, 'PUT', path)).status))
      t.match(await send(port, 'HEAD', path), { status: 200, headers: { 'content-length': '0' } })
    },
  ],
  [
    'a test file is replaced, and read back at once',
    async (t, { port }) => {
      for (const body of ['one', 'another']) {
        const { status } = await send(port, 'PUT', '/dev1/test-write/test-write-3', { body })
        t.ok(status === 201 || status === 204)
        const got = await send(port, 'GET', '/dev1/test-write/test-write-3')
        t.equal(got.body.toString(), body)
      }
    },
  ],
  [
    'a part of a file is sent as such, and what lies beyond the end is refused',
    async (t, { port }) => {
      await send(port, 'PUT', path, { body: '0123456789' })
      const part = await send(port, 'GET', path, { headers: { range: 'bytes=2-5' } })
      t.match(part, { status: 206, headers: { 'content-range': 'bytes 2-5/10' } })
      t.equal(part.body.toString(), '2345')
      const beyond = await send(port, 'GET', path, { headers: { range: 'bytes=10-' } })
      t.match(beyond, { status: 416, headers: { 'content-range': 'bytes */10' } })
    },
  ],
  [
    'HTTP/1.0 without Host is served, kept alive when asked, with a length and not in chunks',
    async (t, { port }) => {
      const put = `PUT ${path} HTTP/1.0\r\nConnection: keep-alive\r\nContent-length: 5\r\n\r\nhello`
      const get = `GET ${path} HTTP/1.0\r\n\r\n`
      const answers = await exchange(port, put + get)
      t.same(
        answers.match(/HTTP\/1\.[01] \d+/g)?.map(head => head.slice(9)),
        ['201', '200'],
      )
      t.match(answers, /content-length: 5\r\n/i)
      t.notMatch(answers, /chunked/i)
      t.ok(answers.endsWith('\r\n\r\nhello'))
    },
  ],
  [
    'a deleted file is gone, and what is not there is not found',
    async (t, { port }) => {
      await send(port, 'PUT', path, { body: 'x' })
      t.equal((await send(port, 'DELETE', path)).status, 204)
      for (const method of ['GET', 'HEAD', 'DELETE']) {
        t.equal((await send(port, method, path)).status, 404, method)
      }
      t.equal((await send(port, 'GET', '/dev1/usage')).status === 500, false)
    },
  ],
  [
    'the root answers, and a double slash counts as one',
    async (t, { port }) => {
      t.equal((await send(port, 'GET', '/')).status, 200)
      await send(port, 'PUT', path, { body: 'x' })
      t.equal((await send(port, 'GET', `/${path}`)).status, 200)
    },
  ],
  [
    'a body that breaks off leaves no file',
    async (t, { port, root }) => {
      await exchange(port, `PUT ${path} HTTP/1.0\r\nContent-Length: 1000\r\n\r\nshort`, true)
      t.notOk(existsSync(join(root, path)))
    },
  ],
  [
    'what a server cannot do beyond WebDAV is found out, not tried',
    async (t, { port, ours }) => {
      const storage = createStorageClient()
      t.teardown(() => storage.close())
      const url = `http://127.0.0.1:${port}${path}`
      await storage.put(url, Buffer.from('x'))
      t.equal((await storage.capabilities(url)).has('copy'), ours)
      if (ours) return
      const sha256 = 'a'.repeat(64)
      t.equal(await storage.copy(url, `${url}x`, { size: 1 }), undefined)
      t.equal(await storage.digest(url, ['sha256']), undefined)
      t.equal(await storage.setAside(url, sha256), undefined)
      t.same(await storage.head(url), { size: 1 }, 'above all it was not deleted')
      const list = storage.inventory(`http://127.0.0.1:${port}/dev1/inventory`)
      await t.rejects(list.next(), { code: 'not_implemented' })
    },
  ],
]

for (const [name, skip, start] of servers) {
  for (const [promise, check] of promises) {
    void t.test(`${name}: ${promise}`, { skip }, async t => check(t, await start(t)))
  }
}
