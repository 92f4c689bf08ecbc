import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createStorageClient } from '../../../client/storage.ts'
import { CopyError, placeReplica, type Content } from '../../../tracker/cluster/copy.ts'
import type { ClusterState } from '../../../tracker/cluster/state.ts'
import type { Device } from '../../../tracker/policy/device.ts'

const body = Buffer.from('bytes of a file '.repeat(10_000))
const hex = (algorithm: string, bytes = body): string =>
  createHash(algorithm).update(bytes).digest('hex')
const fid = 7

interface Peer {
  readonly origin: string
  stored: Buffer | undefined
  readonly requests: string[]
}

interface Habits {
  readonly stored?: Buffer
  /** What is kept of what is sent. */
  readonly keep?: (bytes: Buffer) => Buffer
  /** It is one of ours, and answers a copy with this error, or makes it. */
  readonly copy?: string | true
}

/** A storage node in memory: any WebDAV server, or one that copies by itself. */
async function startPeer(t: Test, { stored, keep = bytes => bytes, copy }: Habits): Promise<Peer> {
  const requests: string[] = []
  const server: Server = createServer((request, response) => {
    const { method = '', url } = request
    const json = (status: number, value: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    const handle = async (sent: Buffer): Promise<void> => {
      requests.push(method)
      if (url === '/') {
        return json(200, copy ? { server: 'omgfiles', capabilities: ['copy'] } : {})
      }
      switch (method) {
        case 'COPY': {
          if (copy !== true) return json(403, { code: copy, message: 'no' })
          const answer = await fetch(String(request.headers['source']))
          peer.stored = keep(Buffer.from(await answer.arrayBuffer()))
          const digest = createHash('sha256').update(peer.stored).digest('base64')
          response.writeHead(201, { 'repr-digest': `sha-256=:${digest}:` }).end()
          return
        }
        case 'PUT':
          peer.stored = keep(sent)
          break
        case 'DELETE':
          peer.stored = undefined
          break
        default:
          response.writeHead(peer.stored ? 200 : 404, {
            'content-length': peer.stored?.length ?? 0,
          })
          response.end(peer.stored)
          return
      }
      response.writeHead(201).end()
    }
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => void handle(Buffer.concat(chunks)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const peer: Peer = { origin: `http://127.0.0.1:${port}`, stored, requests }
  return peer
}

/** Copies from one node to another, and tells what came of it. */
async function run(
  t: Test,
  {
    from,
    to,
    content = {},
    drained = false,
  }: { from: Habits; to: Habits; content?: Partial<Content>; drained?: boolean },
) {
  const [source, target] = [await startPeer(t, { stored: body, ...from }), await startPeer(t, to)]
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  const urlOf = ({ devid }: { devid: number }): string =>
    `${devid === 1 ? source.origin : target.origin}/dev${devid}/file`
  const directories = { forReplica: async () => {} } as never
  const urls = { replica: urlOf, copy: urlOf, plain: urlOf, several: () => undefined } as never
  let underWay = 0
  const cluster = {
    device: () => ({ status: drained ? 'drain' : 'alive' }) as Device,
    noteSilence() {},
    expect() {
      underWay++
      return () => underWay--
    },
  } as Partial<ClusterState> as ClusterState
  const wanted = { fid, size: body.length, sha256: undefined, ...content }
  let doubtful = false
  const result = await placeReplica({ storage, urls, cluster, directories }, wanted, {
    from: 1,
    to: 2,
    leftOver: async () => void (doubtful = true),
  }).then(
    copied => copied,
    (err: unknown) => {
      if (err instanceof CopyError) return `${err.end}: ${err.message}`
      throw err
    },
  )
  t.equal(underWay, 0, 'nothing counts as under way any more')
  return { result, source, target, doubtful }
}

t.test('a node that can fetches the copy itself', async t => {
  const { result, source, target } = await run(t, {
    from: {},
    to: { copy: true },
    content: { sha256: hex('sha256') },
  })
  t.match(result, { sha256: hex('sha256') })
  t.strictSame([source.requests, target.requests], [['GET'], ['GET', 'COPY']])
  t.ok(target.stored?.equals(body))
})

t.test('where it may not, or cannot, the bytes come through the tracker', async t => {
  for (const copy of ['source_refused', undefined]) {
    const { result, target } = await run(t, { from: {}, to: { ...(copy && { copy }) } })
    t.match(result, { sha256: hex('sha256') })
    t.ok(target.requests.includes('PUT'))
    t.ok(target.stored?.equals(body))
  }
})

t.test('a digest that is wanted is found out', async t => {
  for (const wanted of ['md5', 'sha1'] as const) {
    const { result } = await run(t, { from: {}, to: {}, content: { wanted } })
    t.match(result, { checksum: hex(wanted) })
  }
})

const other = Buffer.from(body)
other[5] = 0

const failures: [what: string, options: Parameters<typeof run>[1], told: RegExp][] = [
  [
    'the source is missing',
    { from: { stored: Buffer.alloc(0) }, to: {} },
    /^source: .*size|^source: /,
  ],
  [
    'the source is of another size',
    { from: { stored: body.subarray(1) }, to: {} },
    /^source: .* bytes, not/,
  ],
  [
    'the source has other bytes',
    { from: { stored: other }, to: {}, content: { sha256: hex('sha256') } },
    /^source: .*sha256/,
  ],
  [
    'the source has another MD5',
    {
      from: { stored: other },
      to: {},
      content: { checksum: { algorithm: 'md5', hex: hex('md5') } },
    },
    /^source: .*md5/,
  ],
  [
    'a node fetched other bytes',
    { from: { stored: other }, to: { copy: true }, content: { sha256: hex('sha256') } },
    /^source: .*SHA-256/,
  ],
  ['a node says that the source failed', { from: {}, to: { copy: 'source_failed' } }, /^source: /],
  ['a node fails', { from: {}, to: { copy: 'device_failed' } }, /^destination: /],
  [
    'the destination keeps other bytes',
    { from: {}, to: { keep: () => other } },
    /^destination: .*other bytes/,
  ],
  [
    'the destination keeps fewer bytes',
    { from: {}, to: { keep: all => all.subarray(1) } },
    /^destination: /,
  ],
  [
    'the destination is drained meanwhile',
    { from: {}, to: { copy: true }, drained: true },
    /^destination: .*drained/,
  ],
]
for (const [what, options, told] of failures) {
  t.test(`when ${what}, that end is blamed and nothing is left untold`, async t => {
    const { result, target, doubtful } = await run(t, options)
    t.match(result, told)
    t.ok(target.stored === undefined || doubtful)
  })
}
