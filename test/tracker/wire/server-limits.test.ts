import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { formatOk } from '../../../tracker/wire/codec.ts'
import { answer, Client, exchange, hold, startClient, startServer, until } from './wire-server.ts'

t.test(
  'a line over 1 MiB is refused after the answers before it, and the connection closed',
  async t => {
    const { port } = await startServer(t)
    const refused = 'ERR line_too_long a+request+line+has+at+most+1048576+bytes\r\n'
    const client = await startClient(t, port)
    client.send('wait ms=20\nnoop ').send('x'.repeat(10 * 1024 * 1024))
    t.equal(await client.rest(), `OK waited=1\r\n${refused}`)
    client.send('\nnoop\n').socket.end()
    await until(() => client.socket.closed)
    t.equal(client.received, `OK waited=1\r\n${refused}`, 'nothing is done afterwards')

    const longest = `echo value=${'x'.repeat(1024 * 1024 - 11)}`
    t.equal(
      (await exchange(t, port, `${longest}\r\n`)).length,
      'OK value=\r\n'.length + longest.length - 11,
    )
    t.equal(await exchange(t, port, `${longest}x\r\n`), refused)
  },
)

t.test('a client refused for its line is not kept when it does not leave', async t => {
  const { port } = await startServer(t)
  const client = await startClient(t, port)
  client.send('x'.repeat(1024 * 1024 + 2))
  await until(() => client.socket.readableEnded)
  await until(() => {
    client.send('x')
    return client.socket.closed
  })
})

t.test(
  'a client that does not read its answers is no longer listened to, until it reads',
  async t => {
    let asked = 0
    const reply = formatOk([['value', 'x'.repeat(1000)]])
    const { port } = await startServer(t, {
      handle: () => {
        asked++
        return reply
      },
    })
    const [client, other] = [await startClient(t, port), await startClient(t, port)]
    client.socket.pause()
    const count = 32 * 1024
    client.send(`big x=${'x'.repeat(1000)}\n`.repeat(count))
    for (let before = -1; before !== asked;) {
      before = asked
      // The event loop has come round many times when these are answered.
      const from = other.received.length
      for (let n = 1; n <= 50; n++) {
        other.send('other\n')
        await other.receive(from + n * reply.length)
      }
      asked -= 50
    }
    t.ok(asked < count, `${asked} of ${count}`)

    client.socket.resume()
    client.socket.end()
    t.equal((await client.rest()).length, count * reply.length, 'nothing is lost')
  },
)

t.test('a client that reads nothing for too long is cut', async t => {
  const reply = formatOk([['value', 'x'.repeat(10_000)]])
  const { port, logged } = await startServer(t, { handle: () => reply, stallMs: 100 })
  const [stalled, idle] = [await startClient(t, port), await startClient(t, port)]
  stalled.socket.pause()
  stalled.send('big\n'.repeat(2_000))
  await until(() => logged.some(line => line.msg === 'client does not read its answers'))
  stalled.socket.resume()
  await stalled.rest()
  t.ok(stalled.received.length < 2_000 * reply.length)

  idle.send('big\n')
  t.equal(await idle.receive(reply.length), reply, 'a silent client is not')
  await sleep(250)
  idle.send('big\n')
  t.equal(await idle.receive(2 * reply.length), reply + reply)
})

t.test('a client far ahead of its answers is not read to the end', async t => {
  const held = hold<string>()
  const { port } = await startServer(t, {
    handle: request => (request.command === 'hold' ? held.promise : answer(request)),
  })
  const [ahead, other] = [await startClient(t, port), await startClient(t, port)]
  const count = 32 * 1024
  const request = `noop x=${'x'.repeat(1016)}\n`
  ahead.send('hold\n').send(request.repeat(count))
  for (let n = 1; n <= 50; n++) {
    other.send('noop\n')
    await other.receive(5 * n)
  }
  t.ok(ahead.socket.writableLength > 0, 'the rest is still with the client')
  held.resolve('OK \r\n')
  t.equal((await ahead.receive(5 * (count + 1))).length, 5 * (count + 1))
})

t.test('a client that leaves takes nothing along but its answer', async t => {
  let begun = 0
  let done = 0
  const held = hold<void>()
  const { port, logged } = await startServer(t, {
    handle: async request => {
      begun++
      await held.promise
      done++
      return answer(request)
    },
  })
  const [leaver, other] = [await startClient(t, port), await startClient(t, port)]
  leaver.send('noop\nnoop\n')
  other.send('noop\n')
  await until(() => begun === 2)
  leaver.socket.resetAndDestroy()
  await until(() => logged.some(line => line.msg === 'connection failed'))
  held.resolve()
  t.equal(await other.receive(5), 'OK \r\n')
  t.equal(done, 2, 'what was under way is finished, what waited is not begun')
})

t.test('an address off the list is closed unanswered', async t => {
  const { port } = await startServer(t, { allow: ['10.0.0.0/8'] })
  t.equal(await exchange(t, port, 'noop\n'), '')
  const { port: open } = await startServer(t, { allow: ['10.0.0.0/8', '127.0.0.0/8'] })
  t.equal(await exchange(t, open, 'noop\n'), 'OK \r\n')
})

for (const limit of ['maxConnections', 'maxConnectionsPerAddress'] as const) {
  t.test(`connections over ${limit} are closed, until one has left`, async t => {
    const { port, logged } = await startServer(t, { [limit]: 2 })
    const first = await startClient(t, port)
    await startClient(t, port)
    t.equal(await exchange(t, port, 'noop\n'), '')
    t.equal(await exchange(t, port, 'noop\n'), '')
    t.equal(logged.filter(line => line.msg === 'too many connections').length, 1)
    first.send('noop\n')
    t.equal(await first.receive(5), 'OK \r\n')

    first.socket.destroy()
    let last: string
    do last = await exchange(t, port, 'noop\n')
    while (last === '')
    t.equal(last, 'OK \r\n')
  })
}

t.test('it listens at several addresses, of IPv4 and IPv6, with one limit for all', async t => {
  const local = Object.values(networkInterfaces()).flatMap(all => all ?? [])
  const hosts = ['127.0.0.1', '::1'].filter(host => local.some(({ address }) => address === host))
  const listen = [...hosts, '127.0.0.1'].map(host => ({ host, port: 0 }))
  const { server } = await startServer(t, { listen, maxConnections: listen.length })
  const { addresses } = server
  for (const { host, port } of addresses) {
    const client = new Client(port, host)
    t.teardown(() => client.socket.destroy())
    t.equal(await client.send('noop\n').receive(5), 'OK \r\n', host)
  }
  t.equal(await exchange(t, addresses[0]?.port ?? 0, 'noop\n'), '', 'one more is closed')
})

t.test('a thousand silent clients cost little and leave at once', async t => {
  const { server, port } = await startServer(t)
  const before = process.memoryUsage().rss
  const clients = await Promise.all(Array.from({ length: 1000 }, () => startClient(t, port)))
  for (const client of clients) client.send('noop')
  t.equal(await exchange(t, port, 'noop\n'), 'OK \r\n')
  t.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024)
  await server.close()
  await until(() => clients.every(client => client.socket.readableEnded || client.socket.closed))
})
