import t from 'tap'
import { utf8ToWire } from '../../../tracker/wire/codec.ts'
import type { WireClient } from '../../../tracker/wire/connection.ts'
import { answer, exchange, startClient, startServer, unknown, until } from './wire-server.ts'

t.test('a console line goes to the console, in its turn, and never to the commands', async t => {
  const commands: string[] = []
  const { port, logged } = await startServer(t, {
    handle: request => {
      commands.push(request.command)
      return answer(request)
    },
    console: async (line, client) => {
      if (line.startsWith('!crash')) throw new Error('secret detail')
      return utf8ToWire(`${line} of ${client.remoteAddress}\r\n.\r\n`)
    },
  })
  t.equal(
    await exchange(t, port, 'noop\n!stats a  b\r\n! stats\n !stats\n!\n!crash\nnoop\n'),
    `OK \r\n!stats a  b of 127.0.0.1\r\n.\r\n${unknown.repeat(3)}ERROR: internal error\r\n.\r\nOK \r\n`,
  )
  t.strictSame(commands, ['noop', 'noop'])
  t.ok(logged.some(line => line.msg === 'console command failed'))
})

t.test('without a console its lines are answered with a line of help', async t => {
  const { port } = await startServer(t)
  t.match(await exchange(t, port, '!help\n'), /^[^\r\n]+\r?\n\.\r\n$/)
})

t.test('the console can send lines at any time, and learns when the client is gone', async t => {
  const watchers = new Set<WireClient>()
  const { port } = await startServer(t, {
    console: (_, client) => {
      if (watchers.delete(client)) return 'Removed\r\n.\r\n'
      watchers.add(client)
      client.onClose(() => watchers.delete(client))
      return 'Added\r\n.\r\n'
    },
  })
  const client = await startClient(t, port)
  client.send('!watch\n')
  await client.receive(10)
  for (const watcher of watchers) watcher.send(':: hello\r\n')
  t.equal(await client.receive(20), 'Added\r\n.\r\n:: hello\r\n')
  client.send('!watch\n!watch\n')
  t.match(await client.receive(42), /Removed\r\n\.\r\nAdded\r\n\.\r\n$/)
  client.socket.destroy()
  await until(() => watchers.size === 0)
})

t.test('lines for a watcher that does not read are dropped', async t => {
  const watchers: WireClient[] = []
  const { port } = await startServer(t, {
    console: (_, client) => {
      watchers.push(client)
      return '.\r\n'
    },
  })
  const client = await startClient(t, port)
  client.send('!watch\n')
  await client.receive(3)
  client.socket.pause()
  const line = `:: ${'x'.repeat(1021)}\r\n`
  for (let n = 0; n < 64 * 1024; n++) watchers[0]?.send(line)
  client.socket.resume()
  client.send('noop\n')
  await until(() => client.received.endsWith('OK \r\n'))
  t.ok(client.received.length < 32 * 1024 * 1024, 'far from 64 MiB')
  t.equal((client.received.length - 8) % line.length, 0, 'whole lines only')
})
