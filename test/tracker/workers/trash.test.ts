import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createClient } from '../../../client/index.ts'
import { replicaPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'

t.test('deleted files can be had back for a while, where their domain says so', async t => {
  const cluster = await startCluster(t, { hosts: 3, settings: { delete_grace_seconds: '0' } })
  const { api, client } = cluster
  const sql = await openSql(t, cluster.databaseUrl)
  const file = (key: string) => ({ domain: 'test', key })
  const put = async (key: string, text: string): Promise<number> => {
    await client.put(key, text, { contentType: 'text/plain', durability: 'everywhere' })
    await until('it is settled', async () => (await api.stat(file(key))).devids.length === 2)
    return (await api.stat(file(key))).fid
  }

  t.test('not by default', async t => {
    t.equal((await api.listDomains())[0]?.trashSeconds, 0)
    const fid = await put('plain', 'x')
    await api.remove(file('plain'))
    t.strictSame(await api.listTrash('test'), [])
    await t.rejects(api.undelete(file('plain')), { code: 'unknown_key' })
    await until('the bytes are gone', async () => (await replicasOf(cluster, fid)).length === 0)
  })

  t.test('whole, with all that is known of them', async t => {
    t.equal((await api.changeDomain('test', { trashSeconds: 3600 })).trashSeconds, 3600)
    const fid = await put('key', 'hello')
    const before = await api.stat(file('key'))
    await api.remove(file('key'))
    await t.rejects(api.stat(file('key')), { code: 'unknown_key' })
    const [listed] = await api.listTrash('test')
    t.match(listed, { key: 'key', fid, size: 5, contentType: 'text/plain', class: 'default' })
    const seconds =
      (Date.parse(listed?.expiresAt ?? '') - Date.parse(listed?.deletedAt ?? '')) / 1e3
    t.equal(Math.round(seconds), 3600)
    const { modifiedAt: _, ...same } = before
    t.match(await api.undelete(file('key')), same)
    t.equal(await (await client.get('key')).text(), 'hello')
    t.strictSame(await api.listTrash('test'), [])
    t.strictSame(await sql('select fid from delete_job where fid = $1', [fid]), [])
    await cluster.settled()
    t.equal((await replicasOf(cluster, fid)).length, 2)
  })

  t.test('the one deleted last, or the one that is named, under a free key', async t => {
    const fids: number[] = []
    for (const text of ['one', 'two']) {
      fids.push(await put('versions', text))
      await api.remove(file('versions'))
    }
    const listed = await api.listTrash('test', { prefix: 'vers' })
    t.strictSame(
      listed.map(({ fid }) => fid),
      fids,
    )
    const page = { prefix: 'vers', after: 'versions', afterFid: fids[0] }
    t.match(await api.listTrash('test', page), [{ fid: fids[1] }])
    t.strictSame(await api.listTrash('test', { prefix: 'x' }), [])
    await api.undelete(file('versions'))
    t.equal(await (await client.get('versions')).text(), 'two')
    const older = { ...file('versions'), fid: fids[0] }
    await t.rejects(api.undelete(older), { code: 'key_exists' })
    await client.delete('versions')
    await api.undelete(older)
    t.equal(await (await client.get('versions')).text(), 'one')
  })

  t.test('of two who want it at once one has it, and a new file is never overwritten', async t => {
    await put('raced', 'old')
    await api.remove(file('raced'))
    const outcomes = await Promise.allSettled([
      api.undelete(file('raced')),
      api.undelete(file('raced')),
      client.put('raced', 'new', { durability: 'fast' }),
    ])
    t.ok(outcomes.filter(({ status }) => status === 'fulfilled').length >= 1)
    t.match(await (await client.get('raced')).text(), /old|new/)
  })

  t.test('not when none of the replicas is there', async t => {
    const fid = await put('vanished', 'x')
    const { devids } = await api.stat(file('vanished'))
    await api.remove(file('vanished'))
    for (const devid of devids) {
      const node = cluster.nodes.find(node => node.devids.includes(devid))
      await rm(join(node?.root ?? '', replicaPath({ devid, fid })))
    }
    await t.rejects(api.undelete(file('vanished')), { code: 'no_replica' })
  })

  t.test('bytes stay while they can be had back, whatever the queue says', async t => {
    const fid = await put('early', 'x')
    await api.remove(file('early'))
    await sql('update delete_job set next_try = now() where fid = $1', [fid])
    await until('the job was looked at', async () => {
      const [row] = await sql<{ wait: number }>(
        'select extract(epoch from next_try - now())::int as wait from delete_job where fid = $1',
        [fid],
      )
      return (row?.wait ?? 0) > 3000
    })
    t.equal((await replicasOf(cluster, fid)).length, 2)
    await api.undelete(file('early'))
  })

  t.test('they go when their time is over, or when all is let go of', async t => {
    const fid = await put('expired', 'x')
    await api.remove(file('expired'))
    await sql(`update trash set expires_at = now() - interval '5 minutes' where fid = $1`, [fid])
    await t.rejects(api.undelete(file('expired')), { code: 'unknown_key' })
    await sql('update delete_job set next_try = now() where fid = $1', [fid])
    await until('the bytes are gone', async () => (await replicasOf(cluster, fid)).length === 0)
    await until('its row is gone', async () => {
      const rows = await sql('select fid from trash where fid = $1', [fid])
      return rows.length === 0
    })

    const other = await put('purged', 'x')
    await api.remove(file('purged'))
    t.ok((await api.emptyTrash('test')).count >= 1)
    t.strictSame(await api.listTrash('test'), [])
    await until('the bytes are gone', async () => (await replicasOf(cluster, other)).length === 0)
  })

  t.test('it is told who did it', async t => {
    const trail = await api.audit({ domain: 'test', limit: 1000 })
    const [undelete] = trail.filter(({ action }) => action === 'undelete')
    t.match(undelete, { actor: 'admin', address: '127.0.0.1', domain: 'test', key: 'early' })
    const [token] = await api.listTokens()
    for (const what of ['put', 'delete', 'undelete', 'trash.empty']) {
      const entry = trail.find(({ action }) => action === what)
      t.match(entry, { tokenId: token?.id, requestId: String }, what)
    }
    const times = trail.map(({ at }) => at)
    t.strictSame(times, [...times].sort().reverse(), 'newest first')
    const puts = await api.audit({ action: 'put', limit: 2 })
    const next = await api.audit({ action: 'put', limit: 2, before: puts.at(-1)?.at })
    t.ok(next.length > 0 && next.every(({ at }) => at < (puts.at(-1)?.at ?? '')))
  })

  t.test('who may only read lists them, and has none back', async t => {
    const { token } = await api.createToken({ name: 'reader', scope: 'read', domain: 'test' })
    const reader = createClient({ trackers: [cluster.http], token, domain: 'test' })
    t.teardown(() => reader.close())
    t.strictSame(await reader.api.listTrash('test'), [])
    await t.rejects(reader.api.undelete(file('key')), { code: 'forbidden' })
    await t.rejects(reader.api.emptyTrash('test'), { code: 'forbidden' })
    await t.rejects(reader.api.audit(), { code: 'forbidden' })
  })
})
