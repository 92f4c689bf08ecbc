/**
 * Most requests are read by the short way, the others by node's HTTP server. Nobody may be able to
 * tell them apart: the same request gets the same answer, and the application and the nodes see the
 * same of it.
 */
import t, { type Test } from 'tap'
import {
  client,
  fileNode,
  ok,
  rawPeer,
  startProxy,
  type Proxy,
  type ProxyConfig,
  type RawPeer,
} from '../peers.ts'
import { bytes, cases, plain, type AppAnswer, type Wanted } from './answers.ts'

/** Fields that have node's server read a request, and change nothing about it. */
const longWay = 'Connection: keep-alive, X-Nothing\r\n'

/** Version and Connection of the request, what the answer says of the connection, and whether it ends. */
const connections = [
  ['1.1', '', 'keep-alive', false],
  ['1.1', 'keep-alive', 'keep-alive', false],
  ['1.1', 'close', 'close', true],
  ['1.0', '', 'close', true],
  ['1.0', 'close', 'close', true],
  ['1.0', 'Keep-Alive', 'keep-alive', false],
] as const

/** What differs from answer to answer. */
const varying = /^(Date: |X-Request-Id: |Retry-After: ).*$/gim

interface Seen {
  readonly answer: string[]
  readonly app: string[]
  readonly nodes: string[]
}

/** Everything that anybody sees of one request. */
async function ask(
  t: Test,
  request: string,
  method: string,
  wanted: Wanted,
  { proxy, app, nodes }: { proxy: Proxy; app: RawPeer; nodes: RawPeer[] },
): Promise<Seen> {
  for (const peer of [app, ...nodes]) peer.requests.length = 0
  const raw = client(t, proxy.port).send(request)
  const got = await raw.response({ method })
  t.equal(got.status, wanted.status, 'status')
  if (wanted.body !== undefined && method === 'GET')
    t.equal(got.body.toString(), wanted.body, 'body')
  for (const [name, value] of Object.entries(wanted.fields ?? {})) {
    const shown = got.field(name)
    if (name === 'retry-after') t.match(shown, /^\d+$/, name)
    else if (name !== 'content-length' || method === 'GET') t.equal(shown, value, name)
  }
  if (!/^connection: close/im.test(got.head)) {
    // The connection goes on, at exactly the right place.
    const again = await raw.send('GET /again HTTP/1.1\r\nHost: a\r\n\r\n').response()
    t.equal(again.body.toString(), 'again')
  }
  raw.socket.destroy()
  // In any order: that of our own fields means nothing.
  const told = (head: string): string[] => head.replace(varying, '$1').split('\r\n').sort()
  return {
    answer: [...told(got.head), got.body.toString()],
    app: told(app.requests[0]?.head ?? ''),
    nodes: nodes.flatMap(node => node.requests.map(({ head }) => head)),
  }
}

t.test('both ways give the same answers, and ask the same', async t => {
  let answer: AppAnswer = plain('200 OK')
  const good = await fileNode(t, bytes, 'ETag: "node"\r\nContent-Type: text/x\r\nX-Node: 1\r\n')
  const other = await rawPeer(t, ({ socket }) => {
    socket.write('HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n')
  })
  const app = await rawPeer(t, ({ head, socket }) => {
    if (head.includes('GET /again')) socket.write(ok('again'))
    else {
      const text = answer({ good: good.url(), other: other.url() })
      socket.write(head.startsWith('HEAD') ? text.slice(0, text.indexOf('\r\n\r\n') + 4) : text)
    }
  })
  const config: ProxyConfig = {
    ports: [1, good.port, other.port],
    viaName: 'edge',
    breakerFailures: 1000,
    bodyCacheBytes: 0,
  }
  const proxy = await startProxy(t, app.port, config)
  const peers = { proxy, app, nodes: [good, other] }
  for (const [rule, fields, given, wanted] of cases) {
    for (const method of ['GET', 'HEAD']) {
      // What HEAD gets of a range is another rule.
      if (method === 'HEAD' && /range/i.test(fields)) continue
      answer = given
      await t.test(`${method}: ${rule}`, async t => {
        const request = `${method} /a/../b//c?x=%zz&y=1+2 HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nCookie: c\r\n${fields}`
        const short = await ask(t, `${request}\r\n`, method, wanted, peers)
        const long = await ask(t, `${request}${longWay}\r\n`, method, wanted, peers)
        t.strictSame(long, short)
        const asked = short.app.includes(`${method} /a/../b//c?x=%zz&y=1+2 HTTP/1.1`)
        t.equal(asked, wanted.status !== 508, 'the application sees the target as it was sent')
        for (const head of short.nodes) t.notMatch(head, /cookie|user-agent|if-|via|forwarded/i)
      })
    }
  }
})

t.test(
  'a connection goes on by default in HTTP/1.1, and in HTTP/1.0 when it is asked to',
  async t => {
    const node = await fileNode(t, bytes)
    const app = await rawPeer(t, ({ socket }) => {
      socket.write(ok('', `X-Reproxy-URL: ${node.url()}\r\n`))
    })
    const proxy = await startProxy(t, app.port, { ports: [node.port] })
    for (const [version, said, shown, ends] of connections) {
      for (const also of ['', 'X-Nothing']) {
        const value = [said, also].filter(token => token !== '').join(', ')
        const fields = value === '' ? '' : `Connection: ${value}\r\n`
        const name = `HTTP/${version} ${value}`
        const raw = client(t, proxy.port)
        for (let i = 0; i < (ends ? 1 : 2); i++) {
          raw.send(`GET / HTTP/${version}\r\nHost: a\r\n${fields}\r\n`)
          const got = await raw.response()
          t.match(got.head, /^HTTP\/1\.1 200 /)
          t.equal(got.field('connection'), shown, name)
          t.equal(got.body.toString(), bytes, name)
        }
        if (ends) await raw.end()
        t.equal(raw.closed, ends, name)
      }
    }
  },
)
