/** Downloads while storage nodes are killed, stalled and cut in turn, one replica always alive. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import t from 'tap'
import { httpPeer, rawPeer, startProxy, writePaced, type RawPeer } from './peers.ts'

const seed = Number(process.env['OMG_SEED'] ?? Date.now() % 1_000_000)
/** How many downloads of how many bytes; `OMG_CHAOS=N` makes N of the size of the promise, which is 200 of 200 MB. */
const soak = Number(process.env['OMG_CHAOS'] ?? (process.env['OMG_SOAK'] ? 200 : 0))
const [downloads, size] = soak > 0 ? [soak, 200_000_000] : [20, 4_000_000]

/** mulberry32 */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What a client gets, without keeping it. */
async function download(
  port: number,
): Promise<{ status: number | undefined; size: number; sha256: string }> {
  const outgoing = request({ port, host: '127.0.0.1', agent: false }).end()
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length
    hash.update(chunk)
  }
  return { status: incoming.statusCode, size: bytes, sha256: hash.digest('hex') }
}

type Harm = 'none' | 'refuse' | 'reset' | 'end' | 'stall'
const harms: readonly Harm[] = ['refuse', 'reset', 'end', 'stall']

t.test(`every byte arrives once, seed ${seed}`, { timeout: 3_600_000 }, async t => {
  const random = randomFrom(seed)
  const file = Buffer.alloc(size)
  for (let i = 0; i < size; i += 4) file.writeUInt32LE((i * 2_654_435_761) >>> 0, i)
  const wanted = createHash('sha256').update(file).digest('hex')
  /** What happens to the next answer of each node. */
  const fate: Harm[] = ['none', 'none', 'none']
  const killAllBut = (alive: number): void => {
    for (let i = 0; i < fate.length; i++) {
      fate[i] = i === alive ? 'none' : (harms[Math.floor(random() * harms.length)] ?? 'refuse')
    }
  }

  const node = (index: number): Promise<RawPeer> =>
    rawPeer(t, async ({ socket, range }) => {
      let harm = fate[index] ?? 'none'
      if (harm === 'none' && random() < 0.8) {
        // It goes on for a while; by then another one is alive.
        harm = (['reset', 'end', 'stall'] as const)[Math.floor(random() * 3)] ?? 'end'
        killAllBut((index + 1 + Math.floor(random() * 2)) % 3)
      }
      if (harm === 'refuse') {
        socket.destroy()
        return
      }
      const first = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0)
      const status = first > 0 ? '206 Partial Content' : '200 OK'
      const more = first > 0 ? `Content-Range: bytes ${first}-${size - 1}/${size}\r\n` : ''
      socket.write(`HTTP/1.1 ${status}\r\nContent-Length: ${size - first}\r\n${more}\r\n`)
      const until = harm === 'none' ? size : first + 1 + Math.floor(random() * (size - first - 1))
      for (let at = first; at < until; at += 65_536) {
        await writePaced(socket, file.subarray(at, Math.min(until, at + 65_536)))
      }
      if (harm === 'reset') socket.resetAndDestroy()
      if (harm === 'end') socket.end()
    })
  const nodes = await Promise.all([0, 1, 2].map(node))
  const app = await httpPeer(t, (_req, res) => {
    const list = nodes.map(({ url }) => url('/x')).join(' ')
    res.writeHead(200, { 'X-Reproxy-URL': list, 'X-Reproxy-Expected-Size': String(size) }).end()
  })
  const proxy = await startProxy(t, app.port, {
    ports: nodes.map(({ port }) => port),
    stallTimeoutMs: 150,
    maxAttempts: 100,
    breakerOpenMs: 100,
  })
  let resumed = 0
  for (let i = 0; i < downloads; i++) {
    killAllBut(Math.floor(random() * 3))
    const got = await download(proxy.port)
    t.strictSame(got, { status: 200, size, sha256: wanted }, `download ${i}`)
    if (proxy.lines.at(-1)?.['resumed'] === true) resumed++
  }
  t.ok(resumed > 0, `${resumed} were resumed`)
})
