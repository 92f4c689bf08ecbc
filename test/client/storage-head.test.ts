import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createStorageClient, type StorageClient } from '../../client/storage.ts'

interface Asked {
  /** Paths of the requests, each with the number of its connection. */
  readonly paths: string[]
  /** Requests that came in each read. */
  readonly reads: number[]
  connections: number
}

/** A server on which `answer` gives the bytes for each request, or undefined to say nothing. */
async function startServer(
  t: Test,
  answer: (path: string, socket: Socket, nth: number) => string | undefined,
): Promise<Asked & { readonly url: string }> {
  const asked: Asked = { paths: [], reads: [], connections: 0 }
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    const connection = ++asked.connections
    let text = ''
    let nth = 0
    sockets.add(socket)
    socket.setEncoding('latin1').on('error', () => {})
    socket.on('data', (chunk: unknown) => {
      text += chunk as string
      const heads = text.split('\r\n\r\n')
      text = heads.pop() ?? ''
      asked.reads.push(heads.length)
      let answers = ''
      for (const head of heads) {
        const path = head.split(' ')[1] ?? ''
        asked.paths.push(`${connection} ${path}`)
        answers += answer(path, socket, ++nth) ?? ''
      }
      if (answers !== '' && !socket.destroyed) socket.write(answers)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return Object.assign(asked, { url: `http://127.0.0.1:${port}` })
}

function client(t: Test, options: Parameters<typeof createStorageClient>[0] = {}): StorageClient {
  const storage = createStorageClient(options)
  t.teardown(() => storage.close())
  return storage
}

const ok = (path: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${path.split('/').at(-1)}\r\n\r\n`

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1)

const sizes = (storage: StorageClient, url: string, wanted: readonly number[]) =>
  Promise.all(wanted.map(async n => (await storage.head(`${url}/dev1/${n}`))?.size))

void t.test('many at once go out together, and each gets its own answer', async t => {
  const server = await startServer(t, ok)
  const storage = client(t, { connectionsPerHost: 1 })
  t.same(await storage.head(`${server.url}/dev1/7`), { size: 7 })
  t.same(await sizes(storage, server.url, numbers(100)), numbers(100))
  t.equal(server.connections, 1)
  t.ok(Math.max(...server.reads) > 8, 'several in one write')
})

void t.test('a connection is asked one thing until it is known to be kept', async t => {
  const server = await startServer(t, (path, socket) => {
    socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${path.slice(6)}\r\n\r\n`)
    return undefined
  })
  const storage = client(t, { connectionsPerHost: 2 })
  t.same(await sizes(storage, server.url, numbers(10)), numbers(10))
  t.equal(server.connections, 10)
  t.ok(server.reads.every(count => count === 1))
})

void t.test('what a connection leaves unanswered is asked again on another', async t => {
  const server = await startServer(t, (path, socket, nth) => {
    if (nth > 5) socket.destroy()
    return nth > 5 ? undefined : ok(path)
  })
  const storage = client(t, { connectionsPerHost: 1 })
  for (let round = 0; round < 3; round++) {
    t.same(await sizes(storage, server.url, numbers(4)), numbers(4))
  }
})

void t.test('one that gets no answer fails alone; other devices do not wait for it', async t => {
  const hung = new WeakSet<Socket>()
  const server = await startServer(t, (path, socket) => {
    if (path.endsWith('/13')) hung.add(socket)
    return hung.has(socket) ? undefined : ok(path)
  })
  const storage = client(t, { connectionsPerHost: 1, firstByteMs: 500 })
  await storage.head(`${server.url}/dev1/1`)
  const results = Promise.allSettled([12, 13, 14].map(n => storage.head(`${server.url}/dev1/${n}`)))
  t.same(await storage.head(`${server.url}/dev2/5`), { size: 5 })
  const [before, waiting, after] = await results
  t.match(before, { status: 'fulfilled', value: { size: 12 } })
  t.match(waiting, { status: 'rejected', reason: { code: 'storage_unreachable' } })
  t.match(after, { status: 'fulfilled', value: { size: 14 } })
})

void t.test('one that is given up holds up nobody', async t => {
  const held: Socket[] = []
  const server = await startServer(t, (path, socket) => {
    if (path.endsWith('/1')) return ok(path)
    held.push(socket)
    return undefined
  })
  const storage = client(t, { connectionsPerHost: 1, firstByteMs: 60_000 })
  await storage.head(`${server.url}/dev1/1`)
  const waiting = storage.head(`${server.url}/dev1/13`, { withinMs: 50 })
  const behind = storage.head(`${server.url}/dev1/14`, { withinMs: 60_000 })
  await t.rejects(waiting, { code: 'storage_unreachable', message: /no answer in time/ })
  // The late answer is nobody's any more, and the next one is the next one's.
  held[0]?.write(ok('/dev1/13') + ok('/dev1/14'))
  t.same(await behind, { size: 14 })
})

void t.test('an answer may come in pieces, after others that are none', async t => {
  const server = await startServer(t, (_path, socket) => {
    const text =
      'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n'
    void (async () => {
      for (const letter of text) {
        socket.write(letter)
        await sleep(1)
      }
    })()
    return undefined
  })
  t.same(await client(t).head(`${server.url}/dev1/3`), { size: 3 })
})

void t.test('without a length a file is empty on lighttpd, and nothing elsewhere', async t => {
  const head = (name: string): string => `HTTP/1.1 200 OK\r\nServer: ${name}\r\n\r\n`
  const lighttpd = await startServer(t, () => head('lighttpd/1.4.69'))
  t.same(await client(t).head(`${lighttpd.url}/dev1/1`), { size: 0 })
  const other = await startServer(t, () => head('not-lighttpd'))
  await t.rejects(client(t).head(`${other.url}/dev1/1`), { code: 'storage_unreachable' })
})

void t.test('what is no answer to HEAD is an error, and no later request gets it', async t => {
  const answers = [
    'SSH-2.0-x\r\n\r\n',
    'HTTP/1.1 099 no\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n'.repeat(20),
    'HTTP/2 200\r\ncontent-length: 1\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`,
    'HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n',
  ]
  for (const answer of answers) {
    const server = await startServer(t, () => answer)
    const refused = client(t).head(`${server.url}/dev1/1`)
    await t.rejects(refused, { code: 'storage_unreachable' }, answer.slice(0, 40))
  }

  t.comment('a server that sends a body all the same')
  const server = await startServer(t, () => 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody')
  const storage = client(t, { connectionsPerHost: 1 })
  for (let n = 0; n < 3; n++) t.same(await storage.head(`${server.url}/dev1/1`), { size: 4 })
  t.equal(server.connections, 3)
})

void t.test('an abort leaves the others their answers; a closed client answers nobody', async t => {
  const held: string[] = []
  let release = (): void => {}
  const server = await startServer(t, (path, socket) => {
    if (path.endsWith('/1')) return ok(path)
    held.push(ok(path))
    release = () => socket.write(held.splice(0).join(''))
    return undefined
  })
  const storage = client(t, { connectionsPerHost: 1 })
  await storage.head(`${server.url}/dev1/1`)
  const abort = new AbortController()
  const reason = new Error('enough')
  const aborted = storage.head(`${server.url}/dev1/2`, { signal: abort.signal })
  const next = storage.head(`${server.url}/dev1/3`)
  await sleep(50)
  abort.abort(reason)
  await t.rejects(aborted, reason)
  release()
  t.same(await next, { size: 3 })
  const last = t.rejects(storage.head(`${server.url}/dev1/2`), { code: 'storage_unreachable' })
  await storage.close()
  await last
  await t.rejects(storage.head(`${server.url}/dev1/4`), { code: 'storage_unreachable' })
})
