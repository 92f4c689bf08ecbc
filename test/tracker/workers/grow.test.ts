import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createLogger } from '../../../common/log.ts'
import { hostSecret } from '../../../common/signing.ts'
import { registerNodes, untilWriteable } from '../../../deploy/up/register.ts'
import { createStorageNode } from '../../../storage-node/index.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { directory } from '../../helpers/directory.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'

t.test('an empty host that is added under load gets its share, and no read fails', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    devices: 2,
    settings: { delete_grace_seconds: '2' },
  })
  const { api, client } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  let count = 0
  const put = async (): Promise<void> => {
    const n = count++
    await client.put(`key/${n}`, `bytes of ${n}`)
  }
  for (let n = 0; n < 25; n++) await Promise.all(Array.from({ length: 8 }, put))
  const stored = count

  const name = 'node3'
  const root = await directory(t)
  for (const devid of [5, 6]) await mkdir(join(root, `dev${devid}`))
  const secret = hostSecret(cluster.secret, name)
  const node = createStorageNode(
    { listen: '127.0.0.1:0', root, name, secret, open: false, logLevel: 'error' },
    createLogger('test', { level: 'error', fd: 2 }),
  )
  t.teardown(() => node.close())
  await node.start()
  const added = { name, devids: [5, 6], address: node.listening()['http'] ?? '' }

  let working = true
  const failed: unknown[] = []
  const lane = async (work: () => Promise<unknown>): Promise<void> => {
    while (working && failed.length === 0) await work().catch((err: unknown) => failed.push(err))
  }
  const read = async (): Promise<void> => {
    const n = Math.floor(Math.random() * stored)
    const text = await (await client.get(`key/${n}`)).text()
    if (text !== `bytes of ${n}`) throw new Error(`key/${n} is ${text}`)
  }
  const load = [lane(read), lane(() => (count < 250 ? put() : read()))]
  await registerNodes(api, [added])
  await untilWriteable(api, [added], AbortSignal.timeout(60_000))

  const fills = async (): Promise<number[]> => {
    const rows = await sql<{ copies: number }>(`
      select (select count(*) from file where devids @> array[device.id]) as copies
      from device order by id`)
    return rows.map(({ copies }) => copies)
  }
  const total = (all: readonly number[]): number => all.reduce((sum, one) => sum + one, 0)
  await until('all are put', () => count >= 250)
  await cluster.settled()
  // From each of the four what it has above a sixth.
  const before = await fills()
  for (const [i, copies] of before.slice(0, 4).entries()) {
    const surplus = copies - Math.round(total(before) / 6)
    if (surplus <= 0) continue
    await api.setRebalancePolicy(`from_devices=${i + 1} to_hosts=3 limit_by=count limit=${surplus}`)
    await api.startRebalance()
    await until('it is over', async () => !(await api.rebalanceStatus()).running)
    await until('all moves are done', async () => {
      const [row] = await sql<{ open: number }>('select count(*) as open from rebalance_job')
      return row?.open === 0
    })
  }
  working = false
  await Promise.all(load)
  await cluster.settled()
  t.strictSame(failed, [])
  const after = await fills()
  t.comment(`${String(before)} became ${String(after)}`)
  for (const copies of after) {
    const points = Math.abs(copies / total(after) - 1 / 6) * 100
    t.ok(points <= 5, `${copies} of ${total(after)} is within 5 points of a sixth`)
  }
  t.equal(total(after), 2 * count)
})
