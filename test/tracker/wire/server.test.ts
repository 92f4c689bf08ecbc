import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { formatOk } from '../../../tracker/wire/codec.ts'
import {
  answer,
  exchange,
  hold,
  replica,
  startClient,
  startServer,
  unknown,
} from './wire-server.ts'

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
