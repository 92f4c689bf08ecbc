import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import { ClientGone } from '../../../reproxy/front/client-sink.ts'
import { LaneSink } from '../../../reproxy/front/lane-sink.ts'

t.test(
  'a client that leaves before the last piece has gone out has left, and harms nobody',
  async t => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    client.on('error', () => {})
    const [socket] = (await once(server, 'connection')) as [Socket]
    socket.on('error', () => {}).resume()
    const head = {
      method: 'GET',
      target: '/',
      version: '1.1',
      fields: [],
      keepAlive: true,
    } as const
    const sink = new LaneSink(socket, head, 1_000, { stallMs: 60_000, mayKeepAlive: () => true })
    // More than the kernel holds for both sides.
    const body = Buffer.alloc(64 * 1024 * 1024)
    sink.start({ status: 200, fields: [], length: body.length })
    const ended = Promise.resolve(sink.end(body))
    await once(client, 'readable')
    client.resetAndDestroy()
    // A promise that nobody waits for would end the process.
    await t.rejects(ended, ClientGone)
    t.equal(sink.complete, false)
  },
)
