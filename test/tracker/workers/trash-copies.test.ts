import { readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

t.test('files in the trash keep their number of copies, and all of them go at its end', async t => {
  const cluster = await startCluster(t, {
    hosts: 4,
    settings: { delete_grace_seconds: '0', reaper_delay_seconds: '0', lost_after: '1' },
  })
  const { api, client, nodes } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  await api.changeDomain('test', { trashSeconds: 3600 })
  const keys = Array.from({ length: 8 }, (_, i) => `key/${i}`)
  const fids = new Map<string, number>()
  for (const key of keys) {
    await client.put(key, `bytes of ${key}`, { durability: 'everywhere' })
    fids.set(key, (await api.stat({ domain: 'test', key })).fid)
    await client.delete(key)
  }
  const rows = async () => {
    const found = await sql<{ fid: number; devids: number[]; due: number[] }>(
      `select trash.fid, trash.devids, job.devids as due
       from trash join delete_job as job using (fid, slot) order by fid`,
    )
    return found
  }
  const copiesOn = async (devids: readonly number[]): Promise<number[]> =>
    (await rows()).map(row => row.devids.filter(devid => devids.includes(devid)).length)

  t.test('when a device is lost', async t => {
    t.ok((await rows()).some(({ devids }) => devids.includes(1)))
    await nodes[0]?.close()
    await until('every one has two elsewhere', async () =>
      (await copiesOn([2, 3, 4])).every(copies => copies === 2),
    )
    await until(
      'nothing is left to do',
      async () => (await api.status()).queues.replicate.waiting === 0,
    )
    await nodes[0]?.restart()
    await until('it is back', async () => (await api.status()).healing.lost.length === 0)
  })

  t.test('when a device is dead', async t => {
    await api.changeDevice(2, { status: 'dead' })
    await until('it is forgotten, and made up for', async () => {
      const held = await copiesOn([2])
      const others = await copiesOn([1, 3, 4])
      return held.every(copies => copies === 0) && others.every(copies => copies >= 2)
    })
    for (const { devids, due } of await rows()) {
      t.ok(
        devids.every(devid => due.includes(devid)),
        'the deletion knows of each',
      )
    }
  })

  const pathOf = (devid: number, fid: number): string => {
    const node = nodes.find(({ devids }) => devids.includes(devid))
    return join(node?.root ?? '', replicaPath({ devid, fid }))
  }
  /** A replica of each. */
  const replicas = async (): Promise<[number, number][]> =>
    (await rows()).map(({ fid, devids }) => [fid, devids[0] ?? 0])
  /** Every replica that a row names is what it should be, two of each at least. */
  const allGood = async (): Promise<boolean> => {
    for (const { fid, devids } of await rows()) {
      const key = keys.find(one => fids.get(one) === fid)
      const texts = await Promise.all(
        devids.map(devid => readFile(pathOf(devid, fid), 'utf8').catch(() => 'nothing')),
      )
      if (texts.length < 2 || texts.some(text => text !== `bytes of ${key}`)) return false
    }
    return true
  }
  const lookedAt: Readonly<Record<string, () => Promise<unknown>>> = {
    scrub: () => api.startScrub({ domain: 'test' }),
    async fsck() {
      await api.resetFsck({})
      await api.startFsck()
    },
  }
  for (const [what, look] of Object.entries(lookedAt)) {
    t.test(`when ${what} finds that one is bad, or gone`, async t => {
      const [[bad, badOn] = [0, 0], [gone, goneFrom] = [0, 0]] = await replicas()
      const [bytes, event] = what === 'scrub' ? ['bytes of kez/0', 'BSUM'] : ['bytes', 'BLEN']
      await writeFile(pathOf(badOn, bad), bytes)
      await rm(pathOf(goneFrom, gone))
      await api.clearFsckLog()
      await look()
      await until('they are made up for', allGood)
      const log = await api.fsckLog()
      t.ok(log.some(one => one.fid === bad && one.event === event && one.devid === badOn))
      t.ok(log.some(one => one.fid === gone && one.event === 'MISS' && one.devid === goneFrom))
      for (const { devids, due } of await rows()) {
        t.ok(
          devids.every(devid => due.includes(devid)),
          'the deletion knows of each',
        )
      }
    })
  }

  t.test('when a device has not what its rows say, and what they do not say', async () => {
    const [[moved, from] = [0, 0], [gone, goneFrom] = [0, 0]] = await replicas()
    const [row] = await rows()
    const others = row?.devids.filter(devid => devid !== from) ?? []
    const to = [1, 3, 4].find(devid => devid !== from && !others.includes(devid)) ?? 0
    const old = new Date(Date.now() - 2 * 86400_000)
    await rename(pathOf(from, moved), pathOf(to, moved))
    await utimes(pathOf(to, moved), old, old)
    for (const devid of others) await rm(pathOf(devid, moved))
    await rm(pathOf(goneFrom, gone))
    await api.putSetting('sweep_hours', '0')
    await sql('update sweep set next_step = now()')
    await until('what they do not say is found', async () =>
      (await rows()).some(({ fid, devids }) => fid === moved && devids.includes(to)),
    )
    await until('and all is made up for', allGood)
  })

  t.test('and can be had back from the new copies alone', async t => {
    const [key = ''] = keys
    const fid = fids.get(key) ?? 0
    const [row] = (await rows()).filter(one => one.fid === fid)
    const made = row?.devids.at(-1)
    for (const { devids } of nodes) {
      for (const devid of devids) {
        if (devid !== made) await rm(pathOf(devid, fid), { force: true })
      }
    }
    await api.undelete({ domain: 'test', key })
    t.equal(await (await client.get(key)).text(), `bytes of ${key}`)
  })

  t.test('until nothing of them is left', async () => {
    await api.emptyTrash('test')
    for (const key of keys.slice(1)) {
      const fid = fids.get(key) ?? 0
      await until('its bytes are gone', async () =>
        (await replicasOf(cluster, fid)).every(path => path.startsWith('dev2/')),
      )
    }
    await until('no deletion waits', async () => {
      const gone = [...fids.values()].slice(1)
      return (await sql('select from delete_job where fid = any($1)', [gone])).length === 0
    })
  })
})
