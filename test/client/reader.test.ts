import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Sink } from '../../client/read-connection.ts'
import {
  createReader,
  type OpenReplica,
  type Reader,
  type ReaderOptions,
} from '../../client/reader.ts'
import { createStorageClient } from '../../client/storage.ts'
import { deadUrl, until } from './peer.ts'

interface Server {
  readonly url: string
  /** Heads of the requests, each with the number of its connection. */
  readonly asked: { readonly connection: number; readonly head: string }[]
  readonly sockets: Set<Socket>
}

/** A server on which `answer` writes the bytes for each request. */
async function startServer(
  t: Test,
  answer: (socket: Socket, request: { head: string; nth: number }) => unknown,
): Promise<Server> {
  const asked: Server['asked'] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer(socket => {
    const connection = ++connections
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: unknown) => {
      text += chunk as string
      const heads = text.split('\r\n\r\n')
      text = heads.pop() ?? ''
      for (const head of heads) answer(socket, { head, nth: asked.push({ connection, head }) })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { asked, sockets, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function readerOf(t: Test, options: Omit<ReaderOptions, 'storage'> = {}): Reader {
  const storage = createStorageClient({ connectionsPerHost: Infinity, ...options })
  const reader = createReader({ storage, ...options })
  t.teardown(async () => {
    reader.close()
    await storage.close()
  })
  return reader
}

const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i * 7))

const head = (length: number, ...fields: string[]): string =>
  [`HTTP/1.1 200 OK`, `Content-Length: ${length}`, ...fields, '', ''].join('\r\n')

interface Taken {
  readonly pieces: Buffer[]
  readonly sink: Sink
  readonly all: () => Buffer
}

/** Takes bytes into rooms of `most`; `goesOn` says whether it wants more. */
function take(most = 100_000, goesOn: () => boolean = () => true): Taken {
  const pieces: Buffer[] = []
  let room = Buffer.alloc(most)
  const sink = {
    room: () => room,
    take(count: number) {
      pieces.push(room.subarray(0, count))
      room = Buffer.alloc(most)
      return goesOn()
    },
  }
  return { pieces, sink, all: () => Buffer.concat(pieces) }
}

/** All of a replica. */
async function readAll(replica: OpenReplica, most?: number): Promise<Buffer> {
  const taken = take(most)
  await replica.receive(taken.sink)
  return taken.all()
}

void t.test('files are read whole, one after another over one connection', async t => {
  const server = await startServer(t, socket => {
    socket.write(head(body.length))
    socket.write(body)
  })
  const reader = readerOf(t)
  for (const most of [1_000_000, 100_000, 777, 16_384]) {
    const replica = await reader.open(`${server.url}/dev1/1.fid?token`)
    t.equal(replica.size, body.length)
    t.ok((await readAll(replica, most)).equals(body), `rooms of ${most}`)
  }
  t.same(new Set(server.asked.map(({ connection }) => connection)), new Set([1]))
  t.match(server.asked[0]?.head, /^GET \/dev1\/1\.fid\?token HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+$/)
})

void t.test('an answer may come in any pieces, also byte by byte', async t => {
  const small = body.subarray(0, 40)
  const text = Buffer.concat([Buffer.from(head(small.length, 'X: y')), small])
  const server = await startServer(t, async socket => {
    for (const byte of text) {
      socket.write(Buffer.of(byte))
      await new Promise(setImmediate)
    }
  })
  const replica = await readerOf(t).open(`${server.url}/dev1/1`)
  t.ok((await readAll(replica, 7)).equals(small))
})

void t.test('answers of all sizes follow each other over one connection', async t => {
  const sizes = [5, 0, 20_000, 5, 300_000, 16_384, 16_300, 16_330, 1, 300_000, 70_000, 3]
  const server = await startServer(t, (socket, { nth }) => {
    const size = sizes[(nth - 1) % sizes.length] ?? 0
    // The body comes with the head, as far as there is room.
    socket.write(Buffer.concat([Buffer.from(head(size)), body.subarray(0, size)]))
  })
  const reader = readerOf(t)
  for (const most of [300_000, 16_000, 100_000]) {
    for (const size of sizes) {
      const read = await readAll(await reader.open(`${server.url}/dev1/1`), most)
      t.ok(read.equals(body.subarray(0, size)), `${size} in rooms of ${most}`)
    }
  }
  t.same(new Set(server.asked.map(({ connection }) => connection)), new Set([1]))
})

void t.test(
  'however an answer is cut, and however the sink takes it, the bytes are the same',
  async t => {
    let state = 1
    /** The next of a fixed row of numbers, from 0 up to and without `end`. */
    const next = (end: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((state / 2 ** 32) * end)
    }
    const sizes = [3, 300, 16_000, 40_000, 300_000]
    const server = await startServer(t, async (socket, { nth }) => {
      const size = sizes[nth % sizes.length] ?? 0
      const answer = Buffer.concat([Buffer.from(head(size)), body.subarray(0, size)])
      for (let at = 0; at < answer.length;) {
        const piece = answer.subarray(at, at + 1 + next([20, 20_000, 400_000][next(3)] ?? 1))
        at += piece.length
        socket.write(piece)
        if (next(2) === 0) await new Promise(setImmediate)
      }
    })
    const reader = readerOf(t)
    for (let i = 0; i < 100; i++) {
      const replica = await reader.open(`${server.url}/dev1/1`)
      const taken = take(1 + next([1_000, 100_000][next(2)] ?? 1), () => {
        const goesOn = next(3) > 0
        if (!goesOn) setImmediate(() => replica.resume())
        return goesOn
      })
      if (next(3) === 0) await new Promise(resolve => setTimeout(resolve, 1))
      await replica.receive(taken.sink)
      if (!taken.all().equals(body.subarray(0, replica.size))) t.fail(`read ${i} is wrong`)
    }
    t.same(new Set(server.asked.map(({ connection }) => connection)), new Set([1]))
  },
)

void t.test('a sink that wants no more gets no more until it does', async t => {
  const server = await startServer(t, socket => {
    socket.write(head(body.length))
    socket.write(body)
  })
  const replica = await readerOf(t).open(`${server.url}/dev1/1`)
  const taken = take(5_000, () => false)
  const received = replica.receive(taken.sink)
  for (let had = 0, resumed = 0; taken.all().length < body.length; resumed++) {
    await until(() => taken.pieces.length > had)
    had = taken.pieces.length
    t.ok(had <= resumed + 1, 'a piece each time')
    await new Promise(setImmediate)
    if (taken.pieces.length > had) t.fail('it got more than it wanted')
    replica.resume()
  }
  await received
  t.ok(taken.all().equals(body))
})

void t.test('a sink may ask for more while it takes', async t => {
  const small = body.subarray(0, 5_000)
  const server = await startServer(t, socket => {
    socket.write(Buffer.concat([Buffer.from(head(small.length)), small]))
  })
  const reader = readerOf(t)
  for (let i = 0; i < 3; i++) {
    const replica = await reader.open(`${server.url}/dev1/1`)
    const taken = take(100, () => {
      replica.resume()
      return false
    })
    await replica.receive(taken.sink)
    t.ok(taken.all().equals(small))
  }
  t.same(new Set(server.asked.map(({ connection }) => connection)), new Set([1]))
})

void t.test('a part is asked for, and only that part is taken', async t => {
  let range = 'bytes 10-19/300000'
  const server = await startServer(t, socket => {
    socket.write(head(10, `Content-Range: ${range}`).replace('200 OK', '206 Partial Content'))
    socket.write(body.subarray(10, 20))
  })
  const reader = readerOf(t)
  const part = { offset: 10, length: 10 }
  const replica = await reader.open(`${server.url}/dev1/1`, part)
  t.equal(replica.size, 300_000)
  t.ok((await readAll(replica)).equals(body.subarray(10, 20)))
  t.match(server.asked[0]?.head, /\r\nRange: bytes=10-19$/)
  range = 'bytes 0-9/300000'
  await t.rejects(reader.open(`${server.url}/dev1/1`, part), { code: 'storage_unreachable' })
})

void t.test('an answer of another kind is asked for like any other', async t => {
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
  const problem = '{"code":"unknown_key","message":"gone"}'
  const missing = `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${problem.length}\r\n\r\n${problem}`
  const old = `HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc`
  const early = `HTTP/1.1 103 Early Hints\r\n\r\n${head(3)}abc`
  const long = `${head(3, `X-Long: ${'x'.repeat(12_000)}`)}abc`
  const cases: [string, string, string | RegExp][] = [
    ['chunked', chunked, /without a length/],
    ['404', missing, /answered 404: gone/],
    ['HTTP/1.0', old, 'abc'],
    ['1xx', early, 'abc'],
    ['a long head', long, 'abc'],
    ['not HTTP', 'hello\r\n\r\n', /Parse Error|parser|HTTP/i],
  ]
  for (const [name, answer, wanted] of cases) {
    const server = await startServer(t, socket => void socket.write(answer))
    const opened = readerOf(t).open(`${server.url}/dev1/1`)
    if (typeof wanted === 'string') t.equal((await readAll(await opened)).toString(), wanted, name)
    else await t.rejects(opened, { message: wanted }, name)
  }
})

void t.test('a connection that was closed while idle costs nothing but a new one', async t => {
  const server = await startServer(t, (socket, { nth }) => {
    if (nth === 2) return socket.resetAndDestroy() // as if it had been closed just before
    socket.write(head(3))
    return socket.write('abc')
  })
  const reader = readerOf(t)
  for (let i = 0; i < 2; i++) {
    t.equal((await readAll(await reader.open(`${server.url}/dev1/1`))).toString(), 'abc')
  }
  t.same(
    server.asked.map(({ connection }) => connection),
    [1, 1, 2],
  )
  for (const socket of server.sockets) socket.end()
  await until(() => server.sockets.size === 0)
  t.equal((await readAll(await reader.open(`${server.url}/dev1/1`))).toString(), 'abc')
})

void t.test('a server that closes after its answer is not asked again there', async t => {
  const server = await startServer(t, socket => {
    socket.end(`${head(3, 'Connection: close')}abc`)
  })
  const reader = readerOf(t)
  for (let i = 0; i < 2; i++) {
    t.equal((await readAll(await reader.open(`${server.url}/dev1/1`))).toString(), 'abc')
  }
  t.equal(server.asked.length, 2)
})

void t.test('a body that breaks off, hangs or is too long is told', async t => {
  const answers: [string, (socket: Socket) => void][] = [
    ['broken', socket => socket.end(body.subarray(0, 1000))],
    ['reset', socket => socket.write(body.subarray(0, 1000), () => socket.resetAndDestroy())],
    ['silent', socket => void socket.write(body.subarray(0, 1000))],
  ]
  for (const [name, send] of answers) {
    const server = await startServer(t, socket => {
      socket.write(head(body.length), () => send(socket))
    })
    const replica = await readerOf(t, { gapMs: 200 }).open(`${server.url}/dev1/1`)
    await t.rejects(replica.receive(take().sink), Error, name)
  }
  const server = await startServer(t, socket => socket.write(`${head(3)}abcdef`))
  const reader = readerOf(t)
  // The whole HTTP client takes what was promised, and so does this one where it has begun.
  t.equal((await readAll(await reader.open(`${server.url}/dev1/1`))).toString(), 'abc')
})

void t.test('somebody who does not read holds up nobody, and breaks no connection', async t => {
  const server = await startServer(t, socket => {
    socket.write(head(body.length))
    socket.write(body)
  })
  const reader = readerOf(t, { gapMs: 50, firstByteMs: 200 })
  const slow = await reader.open(`${server.url}/dev1/1`)
  let wants = false
  const taken = take(1000, () => wants)
  const received = slow.receive(taken.sink)
  await until(() => taken.pieces.length > 0)
  const other = await reader.open(`${server.url}/dev1/2`)
  t.ok((await readAll(other)).equals(body))
  await new Promise(resolve => setTimeout(resolve, 300))
  wants = true
  slow.resume()
  await received
  t.ok(taken.all().equals(body))
})

void t.test('a node that is not there, or does not answer, is told in time', async t => {
  const reader = readerOf(t, { firstByteMs: 100 })
  await t.rejects(reader.open(`${await deadUrl()}/dev1/1`), { code: 'storage_unreachable' })
  const silent = await startServer(t, () => {})
  const failed = { code: 'storage_unreachable', message: /no answer in time/ }
  await t.rejects(reader.open(`${silent.url}/dev1/1`), failed)
  t.equal(silent.asked.length, 1)
})

void t.test('a signal ends it at any time, and an early end frees the connection', async t => {
  const server = await startServer(t, (socket, { head: asked }) => {
    if (asked.includes('/silent')) return
    socket.write(head(body.length))
    socket.write(body.subarray(0, 100_000))
  })
  const reader = readerOf(t)
  const reason = new Error('changed my mind')
  const first = new AbortController()
  const opening = reader.open(`${server.url}/silent`, { signal: first.signal })
  await until(() => server.asked.length === 1)
  first.abort(reason)
  await t.rejects(opening, reason)
  await t.rejects(reader.open(`${server.url}/x`, { signal: first.signal }), reason)

  const second = new AbortController()
  const replica = await reader.open(`${server.url}/dev1/1`, { signal: second.signal })
  const reading = replica.receive(take().sink)
  second.abort(reason)
  await t.rejects(reading, reason)

  const left = await reader.open(`${server.url}/dev1/1`)
  left.close()
  await until(() => server.sockets.size === 0)
})

void t.test('close ends what is under way', async t => {
  const server = await startServer(t, socket => void socket.write(head(10)))
  const reader = readerOf(t)
  const replica = await reader.open(`${server.url}/dev1/1`)
  const reading = replica.receive(take().sink)
  reader.close()
  await t.rejects(reading, /closed/)
  await until(() => server.sockets.size === 0)
})
