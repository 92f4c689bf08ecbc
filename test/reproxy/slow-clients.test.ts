/** What clients that take nothing cost: a bounded share of memory each, whatever they asked for. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { until as eventually } from '../helpers/until.ts'
import { httpPeer, rawPeer, writePaced } from './peers.ts'

const main = fileURLToPath(new URL('../../reproxy/main.js', import.meta.url))
/** Clients; with `OMG_SOAK=1` so many that together they may cost 200 MB. */
const count = process.env['OMG_SOAK'] ? 2000 : 150
/** Bytes that one may cost: what is buffered for it, and its connections. */
const perClient = 64 * 1024
const fileSize = 64 * 1024 * 1024

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

t.test(
  `${count} clients that stop reading cost little each`,
  { skip: process.platform !== 'linux' && 'needs /proc', timeout: 300_000 },
  async t => {
    const piece = Buffer.alloc(65_536, 'x')
    const node = await rawPeer(t, async ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${fileSize}\r\n\r\n`)
      for (let sent = 0; sent < fileSize && !socket.destroyed; sent += piece.length) {
        await writePaced(socket, piece)
      }
    })
    const app = await httpPeer(t, (_req, res) => {
      res.writeHead(200, { 'X-Reproxy-URL': node.url() }).end()
    })
    const dir = t.testdir()
    const file = join(dir, 'reproxy.json')
    const config = {
      listen: '127.0.0.1:0',
      apps: [`127.0.0.1:${app.port}`],
      allowTargets: [`127.0.0.1:${node.port}`],
      maxPerNode: 10_000,
      accessLog: join(dir, 'access.log'),
    }
    await writeFile(file, JSON.stringify(config))
    const child = fork(main, ['--config', file, '--log-level', 'error'], { env: {} })
    const [{ listening }] = (await once(child, 'message')) as [{ listening: { http: string } }]
    t.teardown(async () => {
      child.kill('SIGKILL')
      await once(child, 'exit')
    })
    const pid = child.pid as number
    const before = await residentBytes(pid)
    const clients: Socket[] = []
    t.teardown(() => clients.forEach(socket => socket.destroy()))
    for (let i = 0; i < count; i++) {
      const socket = connect(Number(listening.http.split(':')[1]), '127.0.0.1')
      socket.on('error', () => {})
      socket.pause()
      clients.push(socket)
      await once(socket, 'connect')
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    }
    await eventually('all have asked the node', async () => node.requests.length === count)
    let grown = -1
    let seen = -2
    await eventually('no more is buffered', async () => {
      seen = grown
      grown = (await residentBytes(pid)) - before
      await new Promise(resolve => setTimeout(resolve, 500))
      return Math.abs(grown - seen) < 1024 * 1024
    })
    t.comment(
      `${Math.round(grown / 1024 / 1024)} MiB more, ${Math.round(before / 1024 / 1024)} before`,
    )
    t.ok(
      grown < 64 * 1024 * 1024 + count * perClient,
      `${Math.round(grown / count / 1024)} KiB each`,
    )
  },
)
