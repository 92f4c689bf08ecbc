import t from 'tap'
import { listContents } from '../../../tracker/store/checks.ts'
import { listKeepers, settleDeletions } from '../../../tracker/store/deletions.ts'
import { takeLease } from '../../../tracker/store/leases.ts'
import {
  correctReplicas,
  dropReplica,
  findLeaving,
  forgetDevice,
  listReplicaStates,
} from '../../../tracker/store/replicas.ts'
import { listUnclaimed } from '../../../tracker/store/sweep.ts'
import { openStore } from './store.ts'

t.test('of two replicas of which each vouches for the other one is dropped', async t => {
  const { db, put, find } = await openStore(t)
  for (let n = 1; n <= 20; n++) {
    const file = await put(n, `key ${n}`, [1, 2])
    const outcomes = await Promise.all([
      dropReplica(db, file, { devid: 1, verified: 2 }),
      dropReplica(db, file, { devid: 2, verified: 1 }),
    ])
    t.equal(outcomes.filter(Boolean).length, 1)
    const row = await find(`key ${n}`)
    t.equal(row?.devids.length, 1)
    t.strictSame(await findLeaving(db, n), row?.devids[0] === 1 ? [2] : [1])
  }
})

t.test('a replica is not dropped on its own word, nor when it is none', async t => {
  const { db, put, find } = await openStore(t)
  const file = await put(1, 'key', [1, 2])
  t.notOk(await dropReplica(db, file, { devid: 1, verified: 1 }))
  t.notOk(await dropReplica(db, file, { devid: 3, verified: 1 }))
  t.notOk(await dropReplica(db, file, { devid: 1, verified: 3 }))
  t.strictSame((await find('key'))?.devids, [1, 2])
  t.strictSame(await findLeaving(db, 1), [])
})

t.test('a row is corrected only while it says what was looked at', async t => {
  const { db, put, find } = await openStore(t)
  const file = await put(1, 'key', [1, 2])
  t.notOk(await correctReplicas(db, file, { before: [1], devids: [1] }))
  t.ok(await correctReplicas(db, file, { before: [1, 2], devids: [2] }))
  t.strictSame((await find('key'))?.devids, [2])
  t.notOk(await correctReplicas(db, file, { before: [1, 2], devids: [] }))
})

t.test('what leaves a device is no place for a copy, also when the file is renamed', async t => {
  const { db, put, move } = await openStore(t)
  const file = await put(1, 'key', [1, 2, 3])
  await dropReplica(db, file, { devid: 3, verified: 1 })
  const renamed = await move('key', 'another')
  t.not(renamed?.slot, file.slot)
  const ids = [{ fid: 1, slot: renamed?.slot ?? 0 }]
  t.match(await listReplicaStates(db, ids), [{ devids: [1, 2], leaving: [3] }])
  t.strictSame(await findLeaving(db, 1), [3])
})

t.test('of a file in the trash the deletion knows what its row is corrected to', async t => {
  const { db, sql, put, remove } = await openStore(t)
  await sql('update domain set trash_seconds = 60')
  await sql('update fid_counter set next = 100')
  const file = await put(1, 'key', [1, 2])
  await remove('key')
  await sql(`update delete_job set devids = '{1,2,4}'`)
  t.match(await listContents(db, [1]), [{ ...file, devids: [1, 2], inTrash: true }])
  t.notOk(await correctReplicas(db, file, { before: [1], devids: [1] }))
  t.ok(await correctReplicas(db, file, { before: [1, 2], devids: [2, 3] }))
  t.strictSame(await sql('select devids from trash'), [{ devids: [2, 3] }])
  t.strictSame(new Set(await findLeaving(db, 1)), new Set([2, 3, 4]))
  t.match(await listReplicaStates(db, [file]), [{ devids: [2, 3], leaving: [4], inTrash: true }])

  const owner = { slot: file.slot, size: 5, devids: [2, 3] }
  t.strictSame(await listUnclaimed(db, 5, [1]), [{ fid: 1, owner }], 'bytes elsewhere are its own')
  for (const devid of [2, 3, 4]) t.strictSame(await listUnclaimed(db, devid, [1]), [])

  await sql('update trash set expires_at = now()')
  t.strictSame(await listContents(db, [1]), [], 'what cannot be had back is not looked at')
  t.notOk(await correctReplicas(db, file, { before: [2, 3], devids: [2] }))
})

t.test('a dead device is forgotten in steps, and all it held is queued', async t => {
  const { db, sql, put } = await openStore(t)
  for (let n = 1; n <= 5; n++) await put(n, `key ${n}`, n === 5 ? [2, 3] : [1, 2])
  t.equal(await forgetDevice(db, { devid: 1, limit: 3 }), 3)
  t.equal(await forgetDevice(db, { devid: 1, limit: 3 }), 1)
  t.equal(await forgetDevice(db, { devid: 1, limit: 3 }), 0)
  t.strictSame(await sql('select fid from replicate_job order by fid'), [
    { fid: 1 },
    { fid: 2 },
    { fid: 3 },
    { fid: 4 },
  ])
  t.strictSame(await sql('select distinct devids from file order by devids'), [
    { devids: [2] },
    { devids: [2, 3] },
  ])
})

t.test(
  'what was added to a deletion meanwhile stays, and a row that names what is gone is corrected',
  async t => {
    const { db, sql, put, find, remove } = await openStore(t)
    const file = await put(1, 'key', [1, 2])
    await dropReplica(db, file, { devid: 1, verified: 2 })
    await sql(`update file set devids = '{2,1}' where fid = 1`)
    t.strictSame(await listKeepers(db, [1]), [{ fid: 1, devids: [2, 1], seconds: null }])
    await settleDeletions(db, [{ ...file, done: [1], removed: [1] }])
    t.strictSame((await find('key'))?.devids, [2])
    t.strictSame(await sql('select fid from replicate_job'), [{ fid: 1 }])
    t.strictSame(await findLeaving(db, 1), [])

    await sql(`update file set devids = '{2,3}' where fid = 1`)
    await dropReplica(db, file, { devid: 3, verified: 2 })
    await remove('key')
    t.strictSame(new Set(await findLeaving(db, 1)), new Set([2, 3]))
    await settleDeletions(db, [{ ...file, done: [3], removed: [3] }])
    t.strictSame(await findLeaving(db, 1), [2])
    await settleDeletions(db, [{ ...file, done: [2], removed: [2] }])
    t.strictSame(await sql('select fid from delete_job'), [])
  },
)

t.test('one tracker has a lease, until its time is over', async t => {
  const { db, sql } = await openStore(t)
  const [one, two] = ['one', 'two'].map(holder => ({ name: 'job', holder }))
  if (!one || !two) return
  const taken = await Promise.all([takeLease(db, one, 60), takeLease(db, two, 60)])
  t.equal(taken.filter(Boolean).length, 1)
  const [holder, other] = taken[0] ? [one, two] : [two, one]
  t.ok(await takeLease(db, holder, 60))
  t.notOk(await takeLease(db, other, 60))
  await sql(`update lease set expires_at = now() - interval '1 second'`)
  t.ok(await takeLease(db, other, 60))
  t.notOk(await takeLease(db, holder, 60))
})
