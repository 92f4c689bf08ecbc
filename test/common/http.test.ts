import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import Type from 'typebox'
import t from 'tap'
import { CodedError } from '../../common/errors.ts'
import { createServer } from '../../common/http.ts'
import { createLogger } from '../../common/log.ts'
import { until } from '../helpers/until.ts'

const log = createLogger('test', { level: 'silent' })

t.test('a verb that a resource has not is answered 405 with those it has', async t => {
  const { app } = createServer({ log, name: 'test' })
  t.teardown(() => app.close())
  app.get('/things/:id', { schema: { params: Type.Object({ id: Type.String() }) } }, () => ({}))
  app.delete('/things/:id', () => ({}))
  app.post('/things/:id/parts', () => ({}))
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const ask = async (method: string, path: string) => {
    const response = await fetch(origin + path, { method })
    const { code } = (await response.json()) as { code?: string }
    return [response.status, response.headers.get('allow'), code]
  }
  t.same(await ask('POST', '/things/7?x=1'), [405, 'DELETE, GET, HEAD', 'method_not_allowed'])
  t.same(await ask('GET', '/things/7/parts'), [405, 'POST', 'method_not_allowed'])
  t.same(await ask('GET', '/thingsX7'), [404, null, 'not_found'])
  t.same(await ask('GET', '/'), [404, null, 'not_found'])
  t.same(await ask('GET', '/health'), [200, null, undefined])
})

t.test('metrics are shown to those who are let in', async t => {
  const { app } = createServer({
    log,
    name: 'test',
    metricsAccess: async request => {
      if (request.headers.authorization !== 'Bearer right') {
        throw new CodedError('unauthorized', 'a token is needed')
      }
    },
  })
  t.teardown(() => app.close())
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/metrics`
  t.equal((await fetch(url)).status, 401)
  const shown = await fetch(url, { headers: { authorization: 'Bearer right' } })
  t.match(await shown.text(), /test_requests_total/)
})

t.test('a connection is cut when its client is idle or stalls, not while it is served', async t => {
  const { app } = createServer({ log, name: 'test' })
  t.teardown(() => app.close())
  app.server.setTimeout(300)
  app.server.keepAliveTimeout = 300
  const sleep = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 900))
  app.post('/slow', async () => {
    await sleep()
    return { done: true }
  })
  app.get('/stream', (_request, reply) => {
    const lines = async function* (): AsyncGenerator<string> {
      yield 'first '
      await sleep()
      yield 'last'
    }
    return reply.send(Readable.from(lines(), { objectMode: false }))
  })
  app.get('/large', (_request, reply) => reply.send(Buffer.alloc(32 * 1024 * 1024)))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const ask = async (request: string, { reading = true } = {}): Promise<string> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(request)
    if (reading) return text(socket)
    await sleep()
    return text(socket)
  }
  const head = 'HTTP/1.1\r\nHost: a\r\nContent-Type: application/json'
  const [slow, stream, stalled, unread] = await Promise.all([
    ask(`POST /slow ${head}\r\nContent-Length: 2\r\n\r\n{}`),
    ask(`GET /stream ${head}\r\n\r\n`),
    ask(`POST /slow ${head}\r\nContent-Length: 2\r\n\r\n{`),
    ask(`GET /large ${head}\r\n\r\n`, { reading: false }),
  ])
  t.match(slow, /\{"done":true\}$/)
  t.match(stream, /first [^]*last[^]*\r\n0\r\n\r\n$/)
  t.equal(stalled, '')
  t.ok(unread.length < 32 * 1024 * 1024)
})

t.test('while a request is answered, what is sent behind it is left to the system', async t => {
  const { app } = createServer({ log, name: 'test' })
  t.teardown(() => app.close())
  let goOn = (): void => {}
  const first = new Promise<void>(resolve => {
    goOn = resolve
  })
  app.post('/:n', async ({ params, body }) => {
    const { n } = params as { n: string }
    if (n === '0') await first
    return { n, body }
  })
  let accepted: Socket | undefined
  app.server.on('connection', socket => (accepted = socket))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const body = JSON.stringify('x'.repeat(2_000))
  const head = `Host: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`
  const count = 2_000
  const requests = Array.from(
    { length: count },
    (_, n) => `POST /${n} HTTP/1.1\r\n${head}\r\n\r\n${body}`,
  ).join('')
  const client = connect(port, '127.0.0.1')
  t.teardown(() => client.destroy())
  let answers = ''
  client.on('data', chunk => (answers += chunk.toString()))
  client.write(requests)
  let read = 0
  await until('no more is read', async () => {
    const before = read
    await new Promise(resolve => setTimeout(resolve, 100))
    read = accepted?.bytesRead ?? 0
    return read > 0 && read === before
  })
  t.ok(read < requests.length / 4, `${read} of ${requests.length} bytes are read`)
  goOn()
  const numbers = (): string[] => [...answers.matchAll(/"n":"(\d+)"/g)].map(match => match[1] ?? '')
  await until('all are answered', () => numbers().length === count)
  t.strictSame(
    numbers(),
    Array.from({ length: count }, (_, n) => String(n)),
    'in their order',
  )
  t.equal(answers.match(/HTTP\/1\.1 200 OK/g)?.length, count)
})
