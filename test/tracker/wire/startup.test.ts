import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import { createTracker } from '../../../tracker/index.ts'
import { startCluster, trackerConfig } from '../../helpers/cluster.ts'
import { freePort } from '../../helpers/edges.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { openTalk, type Talk } from './talk.ts'
import { jobOf, tell } from './tell.ts'

t.test(
  'clients may connect at once, and their queries wait for the first monitor round',
  async t => {
    const cluster = await startCluster(t, { hosts: 1, open: true })
    // A node that takes connections and says nothing keeps the round busy until it is given up.
    const asked: Socket[] = []
    const silent = createServer(socket => asked.push(socket.on('error', () => {}))).listen(0)
    t.teardown(() => {
      for (const socket of asked) socket.destroy()
      silent.close()
    })
    await once(silent, 'listening')
    const sql = await openSql(t, cluster.databaseUrl)
    await sql('update host set port = $1', [(silent.address() as AddressInfo).port])

    const port = await freePort()
    const { databaseUrl, secret } = cluster
    const config = { databaseUrl, secret, open: true, wireListen: `127.0.0.1:${port}` }
    const tracker = createTracker(trackerConfig(config), pino({ level: 'silent' }))
    t.teardown(() => tracker.close())
    const started = tracker.start()
    const talk = await until('it listens', async (): Promise<Talk | undefined> => {
      try {
        return await openTalk(t, `127.0.0.1:${port}`)
      } catch {
        return undefined
      }
    })
    const console = await openTalk(t, `127.0.0.1:${port}`)
    const answered = talk.ask('noop')
    const early = await tell(console, '!want 1 replicate')
    const waiting = await tell(console, '!queue')
    const { count } = await jobOf(console, 'queryworker')
    t.strictSame(early, ['ERROR: Monitor has not completed initial run yet'])
    t.strictSame([waiting, count], [['127.0.0.1 noop'], 0])
    await started
    t.equal(await answered, 'OK ')
    t.equal((await jobOf(console, 'queryworker')).count, 20)
    t.strictSame(await tell(console, '!want 1 replicate'), [
      "Now desiring 1 children doing 'replicate'.",
    ])
  },
)
