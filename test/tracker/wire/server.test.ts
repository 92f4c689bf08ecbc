import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { CodedError } from '../../../common/errors.ts'
import { formatOk, rawPath, utf8ToWire } from '../../../tracker/wire/codec.ts'
import type { WireClient } from '../../../tracker/wire/connection.ts'
import {
  createWireServer,
  type WireRequest,
  type WireServerOptions,
} from '../../../tracker/wire/server.ts'

const replica = (host: number, fid: number): string =>
  `http://127.0.1.${host}:7500/dev${host}/0/000/000/00000000${fid}.fid`

/** What a tracker with one file would answer; `echo` and `wait` serve the tests. */
function answer({ command, args, callid }: WireRequest): string | Promise<string> {
  switch (command) {
    case 'noop':
      return formatOk([], callid)
    case 'echo':
      return formatOk([['value', args.get('value') ?? '']], callid)
    case 'wait':
      return sleep(Number(args.get('ms')), formatOk([['waited', 1]], callid))
    case 'create_open':
      return formatOk([
        ['fid', 13],
        ['devid', 1],
        ['path', rawPath(replica(1, 13))],
      ])
    case 'file_info':
      return formatOk([
        ['fid', 12],
        ['domain', args.get('domain') ?? ''],
        ['class', 'default'],
        ['key', args.get('key') ?? ''],
        ['length', 5],
        ['devcount', 2],
      ])
    case 'get_domains':
      return formatOk([
        ['domains', 1],
        ['domain1class1replpolicy', 'MultipleHosts()'],
      ])
    case 'list_keys':
      return Promise.reject(new CodedError('none_match', 'no more keys'))
    case 'delete':
      throw new CodedError('unknown_key', 'no file nope in testdom')
    case 'rename':
      throw new CodedError('key_exists', 'there is a file taken in testdom')
    case 'get_paths':
      throw new CodedError('size_mismatch', 'Expected: é; actual: 4')
    case 'crash':
      throw new TypeError('secret detail')
    case 'crash_later':
      return Promise.reject(new TypeError('secret detail'))
    default:
      throw new CodedError('unknown_command', command)
  }
}

async function startServer(t: Test, options: Partial<WireServerOptions> = {}) {
  const logged: { msg: string; err?: { stack: string } }[] = []
  const log = pino({ level: 'debug' }, { write: line => logged.push(JSON.parse(line)) })
  const listen = { host: '127.0.0.1', port: 0 }
  const server = createWireServer({ listen, handle: answer, log, ...options })
  await server.start()
  t.teardown(() => server.close())
  return { server, port: server.address.port, logged }
}

class Client {
  readonly socket: Socket
  received = ''

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    this.socket.setEncoding('latin1')
    this.socket.on('data', text => {
      this.received += String(text)
    })
    this.socket.on('error', () => {})
  }

  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** All that has come once it is `bytes` long. */
  async receive(bytes: number): Promise<string> {
    await until(() => this.received.length >= bytes || this.socket.closed)
    return this.received
  }

  /** All that has come by the time the server ended its side. */
  async rest(): Promise<string> {
    await until(() => this.socket.readableEnded || this.socket.closed)
    return this.received
  }
}

async function startClient(t: Test, port: number): Promise<Client> {
  const client = new Client(port)
  t.teardown(() => client.socket.destroy())
  await once(client.socket, 'connect')
  return client
}

/** A promise that is kept when the test says so. */
function hold<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(keep => {
    resolve = keep
  })
  return { promise, resolve }
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; !condition(); n++) {
    if (n === 2_000) throw new Error(`did not come true: ${String(condition)}`)
    await sleep(5)
  }
}

/** Sends it all, ends, and returns all that came back. */
async function exchange(t: Test, port: number, sent: string): Promise<string> {
  const client = await startClient(t, port)
  client.send(sent).socket.end()
  return client.rest()
}

const unknown = 'ERR unknown_command Unknown+server+command\r\n'

t.test('answers byte for byte as MogileFS does', async t => {
  const { port } = await startServer(t)
  const cases: [sent: string, wanted: string][] = [
    ['noop', 'OK '],
    ['NOOP ', 'OK '],
    ['noop callid=8', 'OK callid=8'],
    [
      'CREATE_OPEN domain=testdom&key=x y&class=&multi_dest=0',
      `OK fid=13&devid=1&path=${replica(1, 13)}`,
    ],
    [
      'file_info domain=testdom&key=a%20b',
      'OK fid=12&domain=testdom&class=default&key=a+b&length=5&devcount=2',
    ],
    [
      'list_keys domain=testdom&prefix=a&after=a+b',
      'ERR none_match No+keys+match+that+pattern+and+after-value+%28if+any%29.',
    ],
    ['delete domain=testdom&key=nope&callid=7', 'ERR unknown_key unknown_key 7'],
    [
      'rename domain=testdom&from_key=a+b&to_key=taken',
      'ERR key_exists Target+key+name+already+exists%3B+can%27t+overwrite.',
    ],
    ['bogus', 'ERR unknown_command Unknown+server+command'],
    ['bogus callid=x+y', 'ERR unknown_command Unknown+server+command x+y'],
    ['get_domains', 'OK domains=1&domain1class1replpolicy=MultipleHosts%28%29'],
    ['get_paths', 'ERR size_mismatch Expected:+%C3%A9%3B+actual:+4'],
    ['GET / HTTP/1.0', 'ERR unknown_command Unknown+server+command'],
    ['=?&', 'ERR unknown_command Unknown+server+command'],
    ['   ', 'ERR unknown_command Unknown+server+command'],
    ['echo value=\xff\x00\xe9%0a', 'OK value=%FF%00%E9%0A'],
  ]
  for (const [sent, wanted] of cases) {
    t.equal(await exchange(t, port, `${sent}\r\n`), `${wanted}\r\n`, sent)
  }
  const all = await exchange(t, port, cases.map(([sent]) => `${sent}\n`).join(''))
  t.equal(all, cases.map(([, wanted]) => `${wanted}\r\n`).join(''), 'all in one packet')
})

t.test('a failure that nobody expected is logged and tells the client nothing', async t => {
  const { port, logged } = await startServer(t)
  t.equal(
    await exchange(t, port, 'crash callid=1\ncrash_later\nnoop\n'),
    'ERR failure Operation+failed 1\r\nERR failure Operation+failed\r\nOK \r\n',
  )
  const errors = logged.filter(line => line.msg === 'command failed')
  t.equal(errors.length, 2)
  t.match(errors[0]?.err?.stack, /TypeError: secret detail\n +at /)
})

t.test('requests on one connection are answered in order, one at a time', async t => {
  const { port } = await startServer(t)
  const sent = 'wait ms=50&callid=1\nnoop callid=2\nwait ms=1&callid=3\nbogus callid=4\n'
  t.equal(
    await exchange(t, port, sent),
    `OK waited=1&callid=1\r\nOK callid=2\r\nOK waited=1&callid=3\r\n${unknown.trim()} 4\r\n`,
  )
})

t.test('an answer does not wait for the next request of the same packet', async t => {
  const held = hold<string>()
  const { port } = await startServer(t, {
    handle: request => (request.command === 'hold' ? held.promise : answer(request)),
  })
  const client = await startClient(t, port)
  client.send('noop callid=1\nhold\nnoop callid=2\n')
  t.equal(await client.receive(13), 'OK callid=1\r\n')
  held.resolve('OK \r\n')
  t.equal(await client.receive(31), 'OK callid=1\r\nOK \r\nOK callid=2\r\n')
})

t.test('thousands of requests at once are all answered, in order', async t => {
  const { port } = await startServer(t, {
    handle: async ({ callid }) => formatOk([], callid),
  })
  const ids = Array.from({ length: 20_000 }, (_, n) => n)
  t.equal(
    await exchange(t, port, ids.map(id => `noop callid=${id}\n`).join('')),
    ids.map(id => `OK callid=${id}\r\n`).join(''),
  )
})

t.test('a busy connection leaves the others their turn', async t => {
  const { port } = await startServer(t, { handle: async () => 'OK \r\n' })
  const [busy, other] = [await startClient(t, port), await startClient(t, port)]
  const count = 100_000
  busy.send('noop\n'.repeat(count))
  await busy.receive(1)
  other.send('noop\n')
  await other.receive(5)
  t.ok(busy.received.length < 5 * count, 'answered before the busy one was done')
  t.equal((await busy.receive(5 * count)).length, 5 * count)
})

t.test('bytes may come one by one', async t => {
  const { port } = await startServer(t)
  const client = await startClient(t, port)
  for (const byte of '\r\n\nnoop callid=1\r\n\r\nNOOP callid=2\n') {
    client.send(byte)
    await sleep(1)
  }
  t.equal(await client.receive(26), 'OK callid=1\r\nOK callid=2\r\n')
})

t.test('half a line before the end is not a request', async t => {
  let asked = 0
  const { port } = await startServer(t, {
    handle: request => {
      asked++
      return answer(request)
    },
  })
  t.equal(await exchange(t, port, 'noop\ndelete domain=testdom&key=a'), 'OK \r\n')
  t.equal(asked, 1)
})

t.test('a client that has ended its side still gets an answer that takes time', async t => {
  const { port } = await startServer(t)
  t.equal(await exchange(t, port, 'wait ms=100\nnoop\n'), 'OK waited=1\r\nOK \r\n')
})

t.test('whatever bytes come, every line gets one line back and the server stays well', async t => {
  const { port } = await startServer(t, {
    handle: ({ command, args }) =>
      formatOk([
        ['command', command],
        ['args', args.size],
      ]),
  })
  const byte = fc.oneof(
    fc.constantFrom(...Buffer.from('\n\r\0 !&=%+a')),
    fc.integer({ min: 0, max: 255 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(byte, { maxLength: 200 }), async bytes => {
      const sent = Buffer.from(bytes).toString('latin1')
      const lines = sent.split('\n').slice(0, -1)
      const wanted = lines.filter(line => line !== '' && line !== '\r' && !/^![^\s]/.test(line))
      const got = await exchange(t, port, sent)
      const replies = got.match(/^(?:OK command=\w+&args=\d+|ERR unknown_command \S+)\r\n/gm) ?? []
      return replies.length === wanted.length
    }),
    { numRuns: 200 },
  )
  t.equal(await exchange(t, port, 'noop\n'), 'OK command=noop&args=0\r\n')
})

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
    t.throws(() => server.address, /not listening/)
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
  await createWireServer({ listen: { host: '127.0.0.1', port: 0 }, handle: answer, log }).close()
})

t.test('start fails where the port is taken', async t => {
  const { port } = await startServer(t)
  const log = pino({ level: 'silent' })
  const second = createWireServer({ listen: { host: '127.0.0.1', port }, handle: answer, log })
  await t.rejects(second.start(), { code: 'EADDRINUSE' })
  await second.close()
})
