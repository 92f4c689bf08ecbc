import { once } from 'node:events'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { flood } from '../helpers/flood.ts'
import { until } from '../helpers/until.ts'
import { peakMemory } from '../helpers/up.ts'
import { startDaemon } from './daemon.ts'
import { filesBelow, send } from './node.ts'

const onLinux = { skip: process.platform !== 'linux' && 'reads /proc' }

function rootWithDevice(t: Test): string {
  const root = t.testdir()
  mkdirSync(join(root, 'dev1'))
  return root
}

void t.test('one address holds 1,024 connections at the most', onLinux, async t => {
  const node = await startDaemon(t, rootWithDevice(t))
  const sockets: Socket[] = []
  t.teardown(() => sockets.forEach(socket => socket.destroy()))
  for (let i = 0; i < 1024; i++) {
    const socket = connect(node.port, '127.0.0.1')
    sockets.push(socket)
    // One that came late would be refused in the place of the one too many.
    await once(socket, 'connect')
  }
  const refused = connect(node.port, '127.0.0.1').on('error', () => {})
  await once(refused, 'close')
  for (const socket of [sockets[0]!, sockets[1023]!]) {
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n')
    t.match(String((await once(socket, 'data'))[0]), '200 OK', 'those that are in are served')
  }
  sockets[5]!.destroy()
  await until('there is room again', async () => {
    return (await send(node.port, 'GET', '/health').catch(() => undefined))?.status === 200
  })
})

void t.test(
  'a thousand clients that stall leave the memory below its ceiling',
  onLinux,
  async t => {
    const root = rootWithDevice(t)
    const node = await startDaemon(t, root, { UV_THREADPOOL_SIZE: '16' })
    const large = replicaPath({ devid: 1, fid: 1 })
    mkdirSync(join(root, dirname(large)), { recursive: true })
    writeFileSync(join(root, large), '')
    truncateSync(join(root, large), 64 * 1024 * 1024)
    const body = Buffer.alloc(1_000_000, 'x')
    const size = `${(2 * body.length).toString(16)}\r\n`
    const sockets = Array.from({ length: 1000 }, (_, i) => {
      const put = `PUT ${replicaPath({ devid: 1, fid: i + 10 })} HTTP/1.1\r\nHost: a\r\n`
      const kinds = [
        [`GET ${large} HTTP/1.1\r\nHost: a\r\n\r\n`],
        [`${put}Content-Length: ${2 * body.length}\r\n\r\n`, body],
        [`${put}Transfer-Encoding: chunked\r\n\r\n${size}`, body],
      ]
      // Nothing is read of what comes back.
      const socket = connect(node.port, '127.0.0.1').on('error', () => {})
      for (const bytes of kinds[i % kinds.length] ?? []) socket.write(bytes)
      return socket
    })
    t.teardown(() => sockets.forEach(socket => socket.destroy()))
    const memory = async (): Promise<number> => Math.round(await peakMemory(node.child.pid!))
    let most = 0
    await until('all have sent what they can', async () => {
      const before = most
      most = await memory()
      await new Promise(resolve => setTimeout(resolve, 1_000))
      return most > 100 && (await memory()) === before
    })
    t.ok(most < 256, `${most} MiB at the most`)
    const answer = await send(node.port, 'GET', '/health')
    t.equal(answer.status, 200, 'others are served meanwhile')
  },
)

void t.test('parts of one file are written by one process at a time', onLinux, async t => {
  const root = rootWithDevice(t)
  const node = await startDaemon(t, root, {}, ['--workers', '2'])
  const put = (fid: number) =>
    send(node.port, 'PUT', replicaPath({ devid: 1, fid }), {
      body: 'abc',
      headers: { 'content-range': 'bytes 0-2/9' },
    })
  /** A client that has sent a third of its part. */
  const holdPart = async (fid: number): Promise<Socket> => {
    const socket = connect(node.port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    const range = 'Content-Range: bytes 0-2/9\r\nContent-Length: 3'
    socket.write(`PUT ${replicaPath({ devid: 1, fid })} HTTP/1.1\r\nHost: a\r\n${range}\r\n\r\na`)
    await until('it is begun', () =>
      filesBelow(root).some(name => name.includes(`${fid}.fid.part`)),
    )
    return socket
  }
  const holder = await holdPart(7)
  for (let i = 0; i < 4; i++) {
    // Connections go to the processes in turn.
    t.match(await put(7), { status: 503, code: 'overloaded' })
  }
  holder.destroy()
  await until('the lock is free', async () => (await put(7)).status === 202)
})

void t.test('who reads no answers is not read any more', onLinux, async t => {
  const root = rootWithDevice(t)
  const node = await startDaemon(t, root)
  const path = replicaPath({ devid: 1, fid: 7 })
  const large = replicaPath({ devid: 1, fid: 8 })
  await send(node.port, 'PUT', path)
  await send(node.port, 'PUT', large, { body: Buffer.alloc(64 * 1024) })
  const http = (line: string): string => `${line} HTTP/1.1\r\nHost: a\r\n\r\n`
  const floods: [what: string, port: number, request: string][] = [
    ['heads', node.port, http(`HEAD ${path}`)],
    ['files', node.port, http(`GET ${large}`)],
    ['what is handed over', node.port, http(`OPTIONS ${path}`)],
    ['sizes', node.sidePort, `size /dev1/${'a'.repeat(200)}\n`],
  ]
  for (const [what, port, request] of floods) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    const pieces = 500
    const taken = await flood(socket, request, pieces)
    t.ok(taken < pieces, `${what}: ${taken} pieces of ${pieces} are taken`)
  }
  const peak = Math.round(await peakMemory(node.child.pid!))
  t.ok(peak < 200, `${peak} MiB at the most`)
  t.equal((await send(node.port, 'GET', '/health')).status, 200, 'others are served')
})
