import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import t from 'tap'
import { isCoded, type Client } from '../../client/index.ts'
import { lateSeconds } from '../../tracker/store/jobs.ts'
import { directory } from '../helpers/directory.ts'
import { startUp, untilGone, type System } from '../helpers/up.ts'
import { until } from '../helpers/until.ts'

t.setTimeout(600_000)

const contentOf = (i: number): string => `content ${i} ${'x'.repeat(i * 100)}`

async function putMany(client: Client, prefix: string, count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, (_, i) => client.put(`${prefix}/${i}`, contentOf(i))),
  )
}

async function checkMany(client: Client, prefix: string, count: number): Promise<string[]> {
  const wrong: string[] = []
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const file = await client.get(`${prefix}/${i}`)
      if ((await file.text()) !== contentOf(i)) wrong.push(`${prefix}/${i}`)
    }),
  )
  return wrong
}

function kill({ ready }: System, name: string): number {
  const pid = ready.pids[name]
  if (pid === undefined) throw new Error(`no process ${name}`)
  process.kill(pid, 'SIGKILL')
  return pid
}

t.test(
  'after the SIGKILL of any one storage node every file is read at once and puts go on',
  async t => {
    const system = await startUp(t, { data: await directory(t), args: ['--separate'] })
    const { client } = system
    await putMany(client, 'before', 40)
    await untilGone(kill(system, 'storage-node2'))
    t.same(await checkMany(client, 'before', 40), [])
    const { copies, devids } = await client.put('after', 'the kill')
    t.equal(copies, 2)
    t.notOk(
      devids.some(devid => devid === 3 || devid === 4),
      'none of them on the dead node',
    )
    await putMany(client, 'during', 40)
    t.same(await checkMany(client, 'during', 40), [])
  },
)

t.test('a SIGKILL of the tracker loses nothing that was acknowledged', async t => {
  const system = await startUp(t, { data: await directory(t), args: ['--separate'] })
  const { client } = system
  await putMany(client, 'before', 20)
  let sent = 0
  const slow = Readable.from(
    (async function* () {
      for (; sent < 20; sent++) {
        if (sent === 5) kill(system, 'tracker')
        yield Buffer.alloc(64 * 1024, sent)
      }
    })(),
  )
  const outcome = await client.put('in flight', slow).then(
    () => 'stored',
    (err: unknown) => (isCoded(err) ? 'failed cleanly' : err),
  )
  t.match(outcome, /^(stored|failed cleanly)$/)
  await until('the tracker is back', () => client.exists('before/1'))
  t.same(await checkMany(client, 'before', 20), [])
  t.equal(await client.exists('in flight'), outcome === 'stored')
  if (outcome === 'stored')
    t.equal((await (await client.get('in flight')).bytes()).length, 20 * 65536)
  await putMany(client, 'after', 5)
  t.same(await checkMany(client, 'after', 5), [])
})

t.test(
  'after the SIGKILL of Postgres the trackers reconnect and nothing acknowledged is lost',
  async t => {
    const system = await startUp(t, { data: await directory(t), args: ['--separate'] })
    const { client } = system
    const acknowledged: string[] = []
    let putting = true
    const putters = Array.from({ length: 4 }, async (_, lane) => {
      for (let i = 0; putting; i++) {
        const key = `${lane}/${i}`
        try {
          await client.put(key, key)
          acknowledged.push(key)
        } catch (err) {
          if (!isCoded(err)) throw err
        }
      }
    })
    await until('some puts are acknowledged', () => acknowledged.length > 50)
    kill(system, 'postgres')
    const before = acknowledged.length
    await until('puts are acknowledged again', () => acknowledged.length > before + 50)
    putting = false
    await Promise.all(putters)
    const lost: string[] = []
    for (const key of acknowledged) {
      const text = await client.get(key).then(file => file.text(), String)
      if (text !== key) lost.push(`${key}: ${text}`)
    }
    t.same(lost, [])
  },
)

t.test(
  'a storage node that comes back is written to again, and what it missed is deleted there',
  async t => {
    const system = await startUp(t, {
      data: await directory(t),
      args: ['--separate', '--hosts', '2', '--devices', '1'],
    })
    const { client } = system
    await client.put('gone', randomBytes(1000))
    await untilGone(kill(system, 'storage-node1'))
    await client.delete('gone')
    const refused = await client.put('needs two', 'hosts').then(
      () => undefined,
      (err: unknown) => err,
    )
    t.ok(isCoded(refused), 'two copies cannot be had of one host')
    t.equal((await client.put('needs one', 'host', { durability: 'fast' })).copies, 1)
    system.process.kill('SIGUSR2')
    await until('two copies can be had again', async () => {
      const { copies } = await client.put('needs two', 'hosts')
      return copies === 2
    })
    await until(
      'every file has two copies and nothing waits',
      async () => {
        const { queues } = await client.api.status()
        const { devids } = await client.stat('needs one')
        return devids.length === 2 && queues.replicate.waiting + queues.delete.waiting === 0
      },
      // A copy that broke off bars its place until nobody can record it any more.
      (lateSeconds + 60) * 1000,
    )
  },
)
