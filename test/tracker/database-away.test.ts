import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createLogger } from '../../common/log.ts'
import { createTracker } from '../../tracker/index.ts'
import { startCluster, trackerConfig, type Cluster } from '../helpers/cluster.ts'
import { until } from '../helpers/until.ts'
import { createCall, openUpload, putFile, writeCopy, commit } from './http/calls.ts'
import { closeLine, open, write } from './wire/files.ts'
import { openTalk } from './wire/talk.ts'

/** A way to the database that can be cut. */
async function startPassage(t: Test, databaseUrl: string) {
  const { hostname, port } = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  const server = createServer(near => {
    const far = connect(Number(port), hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('data', chunk => other.write(chunk))
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const cut = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const near = (server.address() as AddressInfo).port
  t.teardown(() => cut())
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${near}`
  return { url: url.href, cut, restore: () => listen(near) }
}

/** One more tracker for `cluster`, that reaches the database by `databaseUrl`. */
async function startTracker(t: Test, { secret, token }: Cluster, databaseUrl: string) {
  const config = { databaseUrl, secret, adminToken: token, open: true, logLevel: 'silent' } as const
  const log = createLogger('test', { level: 'silent', fd: 2 })
  const tracker = createTracker(trackerConfig(config), log)
  t.teardown(() => tracker.close())
  await tracker.start()
  return tracker.listening()
}

t.test('without its database a tracker says so, and goes on when it is back', async t => {
  const cluster = await startCluster(t, { hosts: 1, open: true, classes: { single: 1 } })
  const passage = await startPassage(t, cluster.databaseUrl)
  const { http, wire } = await startTracker(t, cluster, passage.url)
  const call = createCall(`http://${http}`, cluster.token)
  const talk = await openTalk(t, wire ?? '')

  await putFile(call, { key: 'key' }, 'hello', { class: 'single' })
  const upload = await openUpload(call, { key: 'half', class: 'single' })
  const copies = [await writeCopy(upload.targets[0]!, 'half')]
  const wireUpload = await open(talk, 'wire', { class: 'single' })
  await write(wireUpload.targets[0]!.path, 'wire')
  const close = closeLine(wireUpload, 'wire')

  await passage.cut()
  const rows: [method: string, path: string, json?: unknown][] = [
    ['GET', '/v1/domains/test/files/key'],
    ['GET', '/v1/domains/test/files'],
    ['DELETE', '/v1/domains/test/files/key'],
    ['POST', '/v1/domains/test/rename', { from: 'key', to: 'other' }],
    ['POST', `/v1/domains/test/uploads/${upload.upload}/commit`, { copies }],
    ['POST', '/v1/domains', { name: 'new' }],
    ['GET', '/v1/domains/unknown/files'],
  ]
  for (const [method, path, json] of rows) {
    const answer = await call(method, path, { json })
    t.equal(`${answer.status} ${answer.code}`, '503 database_unavailable', `${method} ${path}`)
    t.ok(answer.headers['retry-after'])
    t.notMatch(answer.text, /ECONN|postgres|:\d{4,5}/, 'a stranger learns nothing')
  }
  for (const line of ['file_info domain=test&key=key', 'delete domain=test&key=key', close]) {
    t.equal(await talk.ask(line), 'ERR db Database+error')
  }
  t.equal(await talk.ask('noop'), 'OK ')
  t.equal((await call('GET', '/health')).status, 200)

  await passage.restore()
  await until(
    'it answers',
    async () => (await call('GET', '/v1/domains/test/files/key')).status === 200,
  )
  t.equal((await commit(call, upload.upload, { copies })).status, 200, 'the upload was still open')
  t.equal(await talk.ask(close), 'OK ')
})
