import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createLogger } from '../../../common/log.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { Utilization } from '../../../tracker/workers/utilization.ts'
import { openTalk, pairsOf } from '../wire/talk.ts'

interface Side {
  readonly port: number
  /** Those who watch. */
  readonly watchers: ReadonlySet<Socket>
  /** How often somebody wanted to watch. */
  asked: number
  /** What everybody who watches is told, now and when he comes. */
  tell(report: string): void
  close(): Promise<void>
}

/** A side channel that says what it is told to, whoever's it is. */
async function startSide(t: Test, report: string): Promise<Side> {
  const watchers = new Set<Socket>()
  const sockets = new Set<Socket>()
  let told = report
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      watchers.delete(socket)
    })
    socket.on('data', line => {
      if (line.toString() !== 'watch\n') return
      side.asked++
      watchers.add(socket)
      socket.write(told)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const side: Side = {
    port: (server.address() as AddressInfo).port,
    watchers,
    asked: 0,
    tell(next) {
      told = next
      for (const socket of watchers) socket.write(told)
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }
  t.teardown(() => side.close())
  return side
}

t.test('the disks that nodes report to be busy are read last', async t => {
  const side = await startSide(t, '1\t97\n2\t2.50\n4711\t50\n.\n')
  const cluster = await startCluster(t, { hosts: 2, tracker: { sidePort: side.port } })
  const talk = await openTalk(t, cluster.wire)
  const told = async (): Promise<(string | undefined)[]> => {
    const devices = pairsOf(await talk.ask('get_devices'))
    return [devices.get('dev1_utilization'), devices.get('dev2_utilization')]
  }
  await until('the tracker knows', async () => (await told()).join() === '97,2.5')
  await cluster.client.put('key', 'x', { durability: 'everywhere' })
  let idleFirst = 0
  for (let i = 0; i < 50; i++) {
    const paths = pairsOf(await talk.ask('get_paths domain=test&key=key&noverify=1'))
    if (paths.get('path1')?.includes('/dev2/')) idleFirst++
  }
  t.ok(idleFirst > 40, `${idleFirst} of 50`)

  side.tell('1\t-\n2\t7\n.\n')
  await until('one does not know any more', async () => (await told()).join() === ',7')
  await side.close()
  await until('nobody tells', async () => (await told()).join() === ',')
  t.equal((await cluster.client.get('key')).size, 1, 'files are read all the same')
})

const device = (devid: number, id = 1) => ({ devid, host: { id } })
const host = (id = 1) => ({ id, ip: '127.0.0.1', port: 7500 })

t.test('a host speaks for itself, as long as it does', async t => {
  const side = await startSide(t, '1\t10\n')
  const log = createLogger('test', { level: 'silent' })
  const utilization = new Utilization({ port: side.port, log })
  t.teardown(() => utilization.close())
  utilization.follow([host()])
  await until('it is watched', () => side.watchers.size === 1)
  t.equal(utilization.of(device(1)), undefined, 'a report is not over before its end')
  side.tell('2\t101.50\n.\n1\t20\n')
  await until('the first report', () => utilization.of(device(1)) !== undefined)
  t.strictSame(
    [1, 2, 3].map(devid => utilization.of(device(devid))),
    [10, 100, undefined],
  )
  t.equal(utilization.of(device(1, 2)), undefined, 'of another host it tells nothing')
  side.tell('2\t-\n.\n')
  await until('the second report', () => utilization.of(device(1)) === 20)
  t.equal(utilization.of(device(2)), undefined)

  for (const socket of side.watchers) socket.destroy()
  await until('it is lost', () => utilization.of(device(1)) === undefined)
  utilization.follow([host()])
  await until('it is watched again', () => side.watchers.size === 1)
  utilization.follow([])
  await until('it is let go', () => side.watchers.size === 0)
})

t.test('what is no side channel is left alone for a while', async t => {
  const log = createLogger('test', { level: 'silent' })
  for (const answer of [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    'ERR iostat unavailable\r\n',
    '1 2\n.\n',
  ]) {
    const side = await startSide(t, answer)
    const utilization = new Utilization({ port: side.port, log })
    t.teardown(() => utilization.close())
    utilization.follow([host()])
    await until('it was asked, and left', () => side.asked === 1 && side.watchers.size === 0)
    for (let i = 0; i < 3; i++) utilization.follow([host()])
    t.equal(utilization.of(device(1)), undefined, answer)
    t.equal(side.asked, 1, 'it is not asked at once')
  }
})
