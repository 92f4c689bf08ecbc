import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createClient } from '../../../client/index.ts'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'

t.test('one tracker looks for all, and another one when it is gone', async t => {
  const cluster = await startCluster(t, { hosts: 2, trackers: 2 })
  const sql = await openSql(t, cluster.databaseUrl)
  const holder = async (): Promise<string | undefined> =>
    (await sql<{ holder: string }>(`select holder from lease where name = 'monitor'`))[0]?.holder
  const first = await until('somebody looks', holder)
  const apis = cluster.trackers.map(tracker => {
    const trackers = [`http://${tracker.listening()['http']}`]
    const client = createClient({ trackers, token: cluster.token, domain: 'test' })
    t.teardown(() => client.close())
    return client.api
  })
  const both = (what: string, observed: string): Promise<unknown> =>
    until(`both see ${what}`, async () => {
      const seen = await Promise.all(apis.map(api => api.listDevices()))
      return seen.every(devices => devices.map(device => device.observed).join() === observed)
    })
  await both('all is well', 'writeable,writeable')
  await cluster.nodes[1]!.close()
  await both('that a node is away', 'writeable,unreachable')
  await cluster.nodes[1]!.restart()
  await both('that it is back', 'writeable,writeable')
  t.equal(await holder(), first, 'it was the same all the time')

  // Which one that is, nobody is told; the other one goes on in both cases.
  await cluster.trackers[1]!.close()
  await sql(`update lease set expires_at = now() where name = 'monitor' and holder = $1`, [first])
  await cluster.nodes[0]!.close()
  await until('the first sees that a node is away', async () =>
    (await apis[0]!.listDevices()).some(({ observed }) => observed === 'unreachable'),
  )
})

t.test('what another one sees is believed, and what it cannot reach is looked at', async t => {
  const { api, databaseUrl } = await startCluster(t, { hosts: 2 })
  const sql = await openSql(t, databaseUrl)
  await sql(`
    update lease set holder = 'another', expires_at = now() + interval '1 hour'
    where name = 'monitor'`)
  /** Waits until the tracker knows what the other one says of both devices. */
  const become = (told: readonly string[], observed: string, why: string | null = null) =>
    until(`they are ${observed}`, async () => {
      await sql(`update observation set seen_at = now(), state = ($1::text[])[devid], why = $2`, [
        told,
        why,
      ])
      const devices = await api.listDevices()
      return devices.map(device => device.observed).join() === observed && devices
    })
  const why = 'what is written does not come back'
  const seen = await become(['readable', 'unreachable'], 'readable,writeable', why)
  t.equal(seen[0]?.problem, why)
  t.equal(seen[1]?.problem, undefined)
  await api.changeDevice(2, { status: 'readonly' })
  await become(['readable', 'unreachable'], 'readable,readable')
  await become(['writeable', 'unreachable'], 'writeable,readable')
})

/** Stands before the second node, and tells something else than its usage; returns its port. */
async function startProxy(
  t: Test,
  cluster: Cluster,
  change: (usage: string) => string,
): Promise<number> {
  const real = cluster.nodes[1]!.service.listening()['http']!
  const proxy = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const answer = await fetch(`http://${real}${request.url}`, {
        method: request.method ?? 'GET',
        ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
      })
      const text = Buffer.from(await answer.arrayBuffer())
      const isUsage = request.url?.includes('/usage?')
      const told = isUsage ? Buffer.from(change(text.toString())) : text
      response.writeHead(answer.status, {
        'content-length': told.length,
        ...(answer.headers.get('omg-receipt') && {
          'omg-receipt': answer.headers.get('omg-receipt')!,
        }),
      })
      response.end(told)
    })().catch(() => response.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  return (proxy.address() as AddressInfo).port
}

t.test('a node whose clock is a day off is read last, gets no files, and is reported', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  let ahead = 86_400
  // What it stands for: a node with another clock, which also judges signatures by it.
  const port = await startProxy(t, cluster, usage => {
    const now = Date.now() / 1000 + ahead
    return usage.replace(/^time: \d+$/m, `time: ${now.toFixed(3)}`)
  })
  await cluster.api.changeHost('node2', { ip: '127.0.0.1', port })
  // On a busy machine an answer may take more than half a second, by which its clock seems behind.
  const problem = 'clock_skew: the clock of its node is 86400 s ahead'
  const skewed = await until('it is reported', async () =>
    (await cluster.api.listDevices()).find(device => device.problem === problem),
  )
  t.match(skewed, { devid: 2, observed: 'readable', lost: false })
  const { targets } = await cluster.api.openUpload(
    { domain: 'test', key: 'key' },
    { durability: 'fast' },
  )
  t.ok(targets.every(({ devid }) => devid === 1))
  ahead = 0
  await until('it is well again', async () =>
    (await cluster.api.listDevices()).every(({ observed }) => observed === 'writeable'),
  )
})

t.test('a file that a node could not read is checked at once', async t => {
  const cluster = await startCluster(t, { hosts: 2, settings: { delete_grace_seconds: '0' } })
  const { api, client } = cluster
  let told = ''
  const port = await startProxy(t, cluster, usage => usage + told)
  await client.put('key', 'hello', { durability: 'everywhere' })
  const { fid } = await api.stat({ domain: 'test', key: 'key' })
  const path = join(cluster.nodes[1]!.root, replicaPath({ devid: 2, fid }))
  await writeFile(path, 'hallo')
  told = `unreadable: ${fid} 4711\n`
  await api.changeHost('node2', { ip: '127.0.0.1', port })
  await until('what was wrong there is replaced', async () => {
    return (await readFile(path, 'utf8').catch(() => '')) === 'hello'
  })
})
