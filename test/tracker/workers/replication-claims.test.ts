import t from 'tap'
import { claimReplications } from '../../../tracker/store/jobs.ts'
import { createClaims, type Claim } from '../../../tracker/workers/replication-claims.ts'
import { until } from '../../helpers/until.ts'
import { openStore, type Store } from '../store/store.ts'

const claim = async ({ db }: Store): Promise<Claim> => {
  const [job] = await claimReplications(db, 1, '-infinity')
  if (!job) throw new Error('nothing is due')
  return { ...job, stale: false }
}

const copy = { fid: 1, devid: 2, sha256: null, checksum: null, last: false }

const queued = ({ sql }: Store) => sql('select fid, slot from replicate_job')

t.test('a claim goes on after its file was renamed', async t => {
  const store = await openStore(t)
  const { db, key, open, commit, move } = store
  await open(1, 'a')
  await commit(1, 'a', [1], { replicate: true })
  const claims = createClaims(db)
  const job = await claim(store)

  await move('a', 'b')
  t.equal(await claims.extend(job), true)
  t.equal(job.slot, key('b').slot)
  await move('b', 'c')
  t.match(await claims.find(job), { fid: 1, slot: key('c').slot, devids: [1] })
  await move('c', 'd')
  t.match(await claims.findRenamed(job), { slot: key('d').slot })
  await move('d', 'e')
  t.strictSame(await claims.record(job, copy), { devids: [1, 2], ended: false })
  t.strictSame(await queued(store), [{ fid: 1, slot: key('e').slot }])
  await claims.finish(job)
  t.strictSame(await queued(store), [])
})

t.test('a job that a rename in the same moment did not know of is found again', async t => {
  const store = await openStore(t)
  const { db, sql, key, open, commit, move, put } = store
  await put(2, 'a', [1])
  await open(1, 'a')
  // The rename waits for the row of the file that takes the key over, and saw no job before.
  let renamed: Promise<unknown> = Promise.resolve()
  await db.transaction(async tx => {
    await commit(1, 'a', [1], { replicate: true }, tx)
    renamed = move('a', 'b')
    await until('the rename waits', async () => {
      const waiting = await sql(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      return waiting.length > 0
    })
  })
  t.match(await renamed, { fid: 1 })
  t.strictSame(await queued(store), [{ fid: 1, slot: key('a').slot }], 'the job was left behind')

  const claims = createClaims(db)
  const job = await claim(store)
  t.match(await claims.findRenamed(job), { fid: 1, slot: key('b').slot })
  t.strictSame(await claims.record(job, { ...copy, last: true }), { devids: [1, 2], ended: true })
  t.strictSame(await queued(store), [])
})

t.test('a claim that is somebody else’s by now is not followed', async t => {
  const store = await openStore(t)
  const { db, sql, key, open, commit, move } = store
  await open(1, 'a')
  await commit(1, 'a', [1], { replicate: true })
  const claims = createClaims(db)
  const job = await claim(store)
  await sql(`update replicate_job set next_try = now() + interval '5 minutes'`)
  await move('a', 'b')
  t.equal(await claims.extend(job), false)
  t.equal(await claims.findRenamed(job), undefined)
  t.equal(await claims.record(job, copy), undefined)
  await claims.finish(job)
  t.strictSame(await queued(store), [{ fid: 1, slot: key('b').slot }])

  await sql('delete from replicate_job')
  t.equal(await claims.find(job), undefined, 'nor is one that is done')
  t.match(await store.find('b'), { devids: [1] })
})

t.test('a job that is asked for again while it is claimed goes on, and is not over', async t => {
  const store = await openStore(t)
  const { db, sql, open, commit } = store
  await open(1, 'a')
  await commit(1, 'a', [1], { replicate: true })
  const claims = createClaims(db)
  const ask = () => sql('update replicate_job set next_try = now()')
  const last = { ...copy, last: true }

  const job = await claim(store)
  await ask()
  t.equal(await claims.extend(job), true, 'also when nobody has claimed it yet')
  t.equal(job.stale, true)
  t.match(await claims.find(job), { devids: [1] })
  t.equal(job.stale, false, 'what is read anew is not')

  await ask()
  t.strictSame(await claims.record(job, last), { devids: [1, 2], ended: false })
  t.equal(job.stale, true)

  await store.move('a', 'b')
  await ask()
  t.match(await claims.find(job), { devids: [1, 2] }, 'also under another key')
  await ask()
  claims.renew(job, await claim(store))
  t.equal(job.attempts, 2)
  t.strictSame(await claims.record(job, { ...last, devid: 3 }), { devids: [1, 2, 3], ended: false })
  await claims.find(job)
  t.strictSame(await claims.record(job, { ...last, devid: 4 }), {
    devids: [1, 2, 3, 4],
    ended: true,
  })
  t.strictSame(await queued(store), [])
})
