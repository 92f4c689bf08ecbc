import t, { type Test } from 'tap'
import { createStorageClient, type StorageClient } from '../../client/storage.ts'
import { until } from '../helpers/until.ts'
import { bodyOf, startPeer } from './peer.ts'

interface Line {
  readonly path: string
  readonly source?: string
  readonly size?: number
}

interface Node {
  readonly url: string
  /** The lines of each request, in the order in which these came. */
  readonly asked: Line[][]
  readonly storage: StorageClient
}

/** A node that answers each batch with what `answer` makes of it. */
async function startNode(
  t: Test,
  answer: (lines: Line[], n: number) => string | Promise<string>,
  capabilities = ['copy', 'copies', 'deletions'],
): Promise<Node> {
  const asked: Line[][] = []
  const peer = await startPeer(t, async (request, reply) => {
    if (request.url === '/') {
      reply.end(JSON.stringify({ server: 'omgfiles', capabilities }))
    } else if (request.method === 'POST') {
      const lines = (await bodyOf(request)).toString().trimEnd().split('\n')
      asked.push(lines.map(line => JSON.parse(line) as Line))
      reply.end(await answer(asked.at(-1) ?? [], asked.length))
    } else {
      asked.push([{ path: `${request.method} ${request.url}` }])
      reply.writeHead(request.method === 'COPY' ? 201 : 204).end()
    }
  })
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  return { url: peer.url, asked, storage }
}

const end = '{"end":true}\n'
const ok = (lines: readonly Line[]): string =>
  `${lines.map((_, at) => `{"at":${at},"sha256":"${at}"}\n`).join('')}${end}`
const source = 'http://127.0.0.1:1/dev1/0/000/000/0000000001.fid'

const copy = ({ storage, url }: Node, fid: number, options: object = {}) =>
  storage.copy(`${url}/dev2/${fid}?token`, source, {
    size: 10,
    together: `${url}/dev2/copies?token`,
    ...options,
  })

t.test('what waits for one device goes out together, a bounded number at once', async t => {
  let now = 0
  let most = 0
  const node = await startNode(t, async lines => {
    most = Math.max(most, ++now)
    await new Promise(resolve => setTimeout(resolve, 20))
    now--
    return ok(lines)
  })
  await copy(node, 0)
  const copies = Array.from({ length: 300 }, (_, i) => copy(node, i + 1))
  t.equal((await Promise.all(copies)).length, 300)
  const lines = node.asked.flat()
  t.equal(lines.length, 301)
  t.ok(node.asked.length < 10, `${node.asked.length} requests`)
  t.ok(most <= 2)
  t.strictSame(lines[1], { path: '/dev2/1?token', source, size: 10 })
})

t.test('while there is always more to do, requests carry the newest signature', async t => {
  const urls: string[] = []
  const peer = await startPeer(t, async (request, reply) => {
    if (request.url === '/') {
      reply.end(JSON.stringify({ server: 'omgfiles', capabilities: ['deletions'] }))
      return
    }
    urls.push(request.url ?? '')
    reply.end(ok((await bodyOf(request)).toString().trimEnd().split('\n') as never))
  })
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  let signed = 0
  let over = false
  const remover = async (): Promise<void> => {
    while (!over) {
      const together = `${peer.url}/dev2/deletions?${++signed}`
      await storage.remove(`${peer.url}/dev2/7`, { together })
    }
  }
  const removers = Array.from({ length: 200 }, remover)
  await until('there were many requests', async () => urls.length >= 20)
  over = true
  await Promise.all(removers)
  const newest = Number(urls.at(-1)?.split('?')[1])
  t.ok(newest > removers.length, `that of removal ${newest} of ${signed}`)
})

t.test('each has its own answer, in whatever order they come', async t => {
  const node = await startNode(
    t,
    () =>
      `{"at":2,"code":"fid_exists","message":"other bytes"}\n{"at":0,"sha256":"aa"}\n` +
      `{"at":3,"code":"strange","message":"?"}\n{"at":1,"code":"source_failed","message":"x"}\n${end}`,
  )
  await node.storage.capabilities(node.url)
  const outcomes = await Promise.allSettled([1, 2, 3, 4].map(fid => copy(node, fid)))
  t.match(outcomes, [
    { value: { sha256: 'aa' } },
    { reason: { code: 'source_failed' } },
    { reason: { code: 'fid_exists', message: /other bytes/ } },
    { reason: { code: 'storage_unreachable' } },
  ])
  t.equal(node.asked.length, 1)
})

const broken: [what: string, answer: string][] = [
  ['breaks off', '{"at":0,"sha256":"aa"}\n'],
  ['breaks off in mid-line', '{"at":0,"sha256":"aa"}\n{"at":1,"sh'],
  ['ends before all are answered', `{"at":0,"sha256":"aa"}\n${end}`],
  ['answers twice', '{"at":0,"sha256":"aa"}\n{"at":0,"sha256":"aa"}\n'],
  ['answers what nobody asked', '{"at":0,"sha256":"aa"}\n{"at":7}\n'],
]
for (const [what, answer] of broken) {
  t.test(`when an answer ${what}, what was told counts and the rest has failed`, async t => {
    const node = await startNode(t, () => answer)
    await node.storage.capabilities(node.url)
    const outcomes = await Promise.allSettled([copy(node, 1), copy(node, 2)])
    t.match(outcomes, [{ value: { sha256: 'aa' } }, { reason: { code: 'storage_unreachable' } }])
  })
}

t.test('large files, and nodes that cannot, are asked one by one', async t => {
  const node = await startNode(t, ok)
  await copy(node, 1, { size: 300 * 1024 })
  const old = await startNode(t, ok, ['copy'])
  await copy(old, 1)
  const url = `${old.url}/dev2/1?token`
  t.equal(await old.storage.remove(url, { together: `${old.url}/dev2/deletions?token` }), true)
  const paths = [...node.asked, ...old.asked].flat().map(({ path }) => path)
  t.strictSame(paths, ['COPY /dev2/1?token', 'COPY /dev2/1?token', 'DELETE /dev2/1?token'])
})

t.test('removals together tell what was there', async t => {
  const node = await startNode(
    t,
    () =>
      `{"at":0}\n{"at":1,"code":"not_found","message":"x"}\n{"at":2,"code":"device_failed"}\n${end}`,
  )
  await node.storage.capabilities(node.url)
  const together = `${node.url}/dev2/deletions?token`
  const outcomes = await Promise.allSettled(
    [1, 2, 3].map(fid => node.storage.remove(`${node.url}/dev2/${fid}?t`, { together })),
  )
  t.match(outcomes, [{ value: true }, { value: false }, { reason: { code: 'device_failed' } }])
})

t.test('who gives up is let go, and keeps nobody else from going on', async t => {
  let answer = (): void => {}
  const node = await startNode(
    t,
    lines =>
      new Promise(resolve => {
        answer = () => resolve(ok(lines))
      }),
  )
  await node.storage.capabilities(node.url)
  const abort = new AbortController()
  const left = t.rejects(copy(node, 1, { signal: abort.signal }), /enough/)
  const stayed = copy(node, 2)
  while (node.asked.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  abort.abort(new Error('enough'))
  await left
  await t.rejects(copy(node, 3, { signal: abort.signal }), /enough/)
  answer()
  t.match(await stayed, { sha256: '1' })
})
