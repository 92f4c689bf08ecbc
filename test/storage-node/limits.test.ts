import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { until } from '../helpers/until.ts'
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
    if (i % 64 === 63) await once(socket, 'connect')
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
