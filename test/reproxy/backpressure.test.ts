import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  client,
  fileNode,
  fileProxy,
  httpPeer,
  rawPeer,
  startProxy,
  until,
  writePaced,
} from './peers.ts'

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** More than the kernel holds for two connections. */
const size = 200_000_000
const piece = Buffer.alloc(262_144)

t.test(
  'a client that stops reading stops the reading from the node, and is cut in the end',
  async t => {
    let sent = 0
    const node = await rawPeer(t, async ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
      while (!socket.destroyed && sent < size) {
        sent += piece.length
        await writePaced(socket, piece)
      }
    })
    const proxy = await fileProxy(t, node.url(), { ports: [node.port], clientStallTimeoutMs: 600 })
    const raw = client(t, proxy.port)
    raw.socket.pause()
    raw.send(get)
    await until(() => sent > 0)
    let before = -1
    while (before !== sent) {
      before = sent
      await sleep(100)
    }
    t.ok(sent < 30_000_000, `${sent} bytes left the node`)
    await until(() => node.sockets.size === 0)
    t.ok(sent < 30_000_000, `${sent} bytes left the node until the client was cut`)
    await until(() => proxy.lines.some(l => l['aborted'] === 'client'))
  },
)

t.test('a client that reads slowly but steadily gets everything', async t => {
  const file = randomBytes(24_000_000)
  const node = await fileNode(t, file)
  const proxy = await fileProxy(t, node.url(), { ports: [node.port], clientStallTimeoutMs: 1000 })
  const raw = client(t, proxy.port)
  raw.socket.removeAllListeners('data')
  raw.send('GET / HTTP/1.0\r\n\r\n')
  const hash = createHash('sha256')
  let head = true
  for await (const chunk of raw.socket as AsyncIterable<Buffer>) {
    hash.update(head ? chunk.subarray(chunk.indexOf('\r\n\r\n') + 4) : chunk)
    head = false
    await sleep(5)
  }
  t.equal(hash.digest('hex'), createHash('sha256').update(file).digest('hex'))
})

t.test('when the client leaves the transfer from the node ends', async t => {
  for (const leave of ['end', 'resetAndDestroy', 'destroy'] as const) {
    const node = await rawPeer(t, async ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
      while (!socket.destroyed) {
        await writePaced(socket, piece)
        await sleep(5)
      }
    })
    const proxy = await fileProxy(t, node.url(), { ports: [node.port] })
    const raw = client(t, proxy.port).send(get)
    await raw.more()
    raw.socket[leave]()
    await until(() => node.sockets.size === 0, 2000)
    await until(() => proxy.lines.some(l => l['aborted'] === 'client'))
  }
})

t.test(
  'when the client leaves while a node or the application works, that connection ends',
  async t => {
    const silent = await rawPeer(t, () => {})
    const file = await fileProxy(t, silent.url(), {
      ports: [silent.port],
      firstByteTimeoutMs: 20_000,
    })
    const plain = await startProxy(t, silent.port)
    for (const proxy of [file, plain]) {
      for (const leave of ['end', 'destroy'] as const) {
        const asked = silent.requests.length
        const raw = client(t, proxy.port).send(get)
        await until(() => silent.requests.length > asked)
        raw.socket[leave]()
        await until(() => silent.sockets.size === 0, 2000)
      }
    }
  },
)

t.test('an upload is streamed with the application’s pace', async t => {
  let resume: (() => void) | undefined
  let received = 0
  const app = await httpPeer(t, (req, res) => {
    req.pause()
    resume = () => {
      req.on('data', (chunk: Buffer) => (received += chunk.length))
      req.on('end', () => res.end(String(received)))
      req.resume()
    }
  })
  const proxy = await startProxy(t, app.port)
  const total = 100_000_000
  for (const chunked of [false, true]) {
    received = 0
    resume = undefined
    const raw = client(t, proxy.port)
    raw.send(
      `POST / HTTP/1.1\r\nHost: a\r\n${chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${total}`}\r\n\r\n`,
    )
    let sent = 0
    const upload = (async () => {
      while (sent < total) {
        const part = piece.subarray(0, Math.min(piece.length, total - sent))
        sent += part.length
        if (chunked) raw.send(`${part.length.toString(16)}\r\n`)
        raw.send(part)
        if (chunked) raw.send('\r\n')
        while (raw.socket.writableLength > 1_000_000) await sleep(2)
      }
      if (chunked) raw.send('0\r\n\r\n')
    })()
    await until(() => resume !== undefined)
    let before = -1
    while (before !== sent) {
      before = sent
      await sleep(100)
    }
    t.ok(sent < 40_000_000, `${sent} bytes left the client before the application read`)
    const go = resume as (() => void) | undefined
    go?.()
    await upload
    t.equal((await raw.response()).body.toString(), String(total))
  }
})
