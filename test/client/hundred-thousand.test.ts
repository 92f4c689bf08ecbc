import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { bodyOf, startPeer } from './peer.ts'

t.setTimeout(300_000)

const total = 100_000
const run = promisify(execFile)
const sdk = new URL('../../client/index.js', import.meta.url).href

void t.test('100,000 files are listed and deleted in batches, in flat memory', async t => {
  const name = (i: number): string => `${'long/'.repeat(40)}${String(i).padStart(6, '0')}`
  const file = (i: number) => ({
    domain: 'd',
    key: name(i),
    fid: i + 1,
    class: 'default',
    size: 1,
    metadata: { description: 'x'.repeat(200) },
    createdAt: '2020-01-02T03:04:05.000Z',
    modifiedAt: '2020-01-02T03:04:05.000Z',
    devids: [1, 2],
  })
  let deleted = 0
  let batches = 0
  const { url } = await startPeer(t, async (request, reply) => {
    reply.setHeader('content-type', 'application/json')
    if (request.method === 'POST') {
      const { keys } = JSON.parse((await bodyOf(request)).toString()) as { keys: object[] }
      deleted += keys.length
      batches++
      reply.end(JSON.stringify({ results: keys.map(() => ({ deleted: true })) }))
      return
    }
    const after = /[?&]after=[^&]*?(\d{6})(?:&|$)/.exec(request.url ?? '')?.[1]
    const start = after === undefined ? 0 : Number(after) + 1
    const files = Array.from({ length: Math.min(1000, total - start) }, (_, i) => file(start + i))
    const next = start + 1000 < total ? { next: encodeURIComponent(name(start + 999)) } : {}
    reply.end(JSON.stringify({ files, prefixes: [], ...next }))
  })
  // Kept, all files would need some 100 MB: a process that is given 48 would die of it.
  const { stdout } = await run(process.execPath, [
    '--max-old-space-size=48',
    '--input-type=module',
    '-e',
    `import { createClient } from ${JSON.stringify(sdk)}
    const client = createClient({ trackers: ['${url}'], domain: 'd' })
    console.log(JSON.stringify(await client.deleteMany(client.list())))
    await client.close()`,
  ])
  t.same(JSON.parse(stdout), { deleted: total, missing: 0 })
  t.equal(deleted, total)
  t.ok(batches < 500, `${batches} requests`)
})
