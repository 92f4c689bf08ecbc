import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { createDoor } from '../../../reproxy/front/door.ts'
import { until } from '../peers.ts'

t.test('connections beyond the limit of their address are closed, until one has gone', async t => {
  let unlimited = false
  const inside = new Set<Socket>()
  const admit = createDoor({ isUnlimited: () => unlimited, maxPerAddress: () => 2 })
  const server = createServer(socket => {
    socket.on('error', () => {})
    inside.add(socket)
    socket.once('close', () => inside.delete(socket))
    admit(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const clients: Socket[] = []
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.resume()
    clients.push(socket)
    await once(socket, 'connect')
    return socket
  }
  t.teardown(async () => {
    for (const socket of clients) socket.destroy()
    server.close()
    await once(server, 'close')
  })

  const first = await open()
  await open()
  await until(() => inside.size === 2)
  const third = await open()
  await once(third, 'close')
  t.equal(inside.size, 2)

  first.destroy()
  await until(() => inside.size === 1)
  const fourth = await open()
  await until(() => inside.size === 2)
  t.equal(fourth.destroyed, false)

  unlimited = true
  await Promise.all([open(), open(), open()])
  await until(() => inside.size === 5)
})
