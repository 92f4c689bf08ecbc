import { pino } from 'pino'
import t from 'tap'
import { createWireServer } from '../../../tracker/wire/server.ts'
import { answer, Client, startClient, startServer, until } from './wire-server.ts'

t.test(
  'close answers what has been asked, closes the others at once and takes no more',
  async t => {
    let asked = 0
    const { server, port } = await startServer(t, {
      handle: request => {
        asked++
        return answer(request)
      },
    })
    const [asking, idle, half] = [
      await startClient(t, port),
      await startClient(t, port),
      await startClient(t, port),
    ]
    asking.send('wait ms=200\nnoop\n')
    half.send('noop\nno')
    await half.receive(5)
    await until(() => asked === 2)
    const closed = server.close()
    await idle.rest()
    t.equal(await half.rest(), 'OK \r\n')
    t.equal(asking.received, '')
    const late = new Client(port)
    await until(() => late.socket.closed)
    t.equal(late.received, '')

    t.equal(await asking.rest(), 'OK waited=1\r\nOK \r\n')
    await closed
    await server.close()
    t.throws(() => server.addresses, /not listening/)
  },
)

t.test('close gives up on an answer that does not come', async t => {
  let asked = false
  const { server, port } = await startServer(t, {
    handle: () => {
      asked = true
      return new Promise(() => {})
    },
    drainMs: 50,
  })
  const client = await startClient(t, port)
  client.send('hang\n')
  await until(() => asked)
  await server.close()
  t.equal(await client.rest(), '')
})

t.test('close may come before start', async () => {
  const log = pino({ level: 'silent' })
  await createWireServer({ listen: [{ host: '127.0.0.1', port: 0 }], handle: answer, log }).close()
})

t.test('start fails where the port is taken', async t => {
  const { port } = await startServer(t)
  const log = pino({ level: 'silent' })
  const listen = [0, port].map(one => ({ host: '127.0.0.1', port: one }))
  const second = createWireServer({ listen, handle: answer, log })
  await t.rejects(second.start(), { code: 'EADDRINUSE' })
  await second.close()
})
