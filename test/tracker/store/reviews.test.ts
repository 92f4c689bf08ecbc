import t from 'tap'
import { claimReplications } from '../../../tracker/store/jobs.ts'
import { findLeaving, recordReplicas, type NewReplica } from '../../../tracker/store/replicas.ts'
import {
  advanceReview,
  cancelReviews,
  claimReview,
  listReviewed,
  requestReview,
  reviewProgress,
  type Review,
} from '../../../tracker/store/reviews.ts'
import { claimScrub, extendScrub } from '../../../tracker/store/scrub.ts'
import { addSweeps, claimSweep, extendSweep } from '../../../tracker/store/sweep.ts'
import { openStore, type Store } from './store.ts'

async function fill({ sql, domainId }: Store, count: number): Promise<void> {
  await sql(
    `insert into file (fid, size, domain_id, class_id, slot, key, devids)
     select i, 1, $1, i % 2, 0, int4send(i), array[1 + i % 3, 5] from generate_series(1, $2::int) as i`,
    [domainId, count],
  )
}

async function claim({ db }: Store): Promise<Review> {
  const review = await claimReview(db, 60)
  if (!review) throw new Error('no review is due')
  return review
}

/** Does all the steps of the reviews that are due, and returns the fids that it queued. */
async function runAll(store: Store, span: number): Promise<number[]> {
  const queued: number[] = []
  for (;;) {
    const review = await claimReview(store.db, 60)
    if (!review) return queued
    const { files, last } = await listReviewed(store.db, review, span)
    const chosen = review.round === 1 ? [] : files.map(file => ({ ...file, copies: 2 }))
    t.equal(await advanceReview(store.db, review, { files: chosen, last }), true)
    queued.push(...chosen.map(({ fid }) => fid))
  }
}

t.test('a review finds all files of its subject, in steps of any size', async t => {
  const store = await openStore(t)
  await fill(store, 50)
  for (const span of [1, 7, 50, 1000]) {
    await requestReview(store.db, { domainId: store.domainId, classId: 1 })
    const odd = Array.from({ length: 25 }, (_, i) => 2 * i + 1)
    t.strictSame(await runAll(store, span), odd, `class, ${span} files a step`)
    await requestReview(store.db, { devids: [2, 9] })
    const onTwo = Array.from({ length: 17 }, (_, i) => 3 * i + 1)
    t.strictSame(await runAll(store, span), onTwo, `device, ${span} files a step`)
  }
  t.match(await store.sql('select count(*) as count from replicate_job'), [{ count: 33 }])
  await requestReview(store.db, 'all')
  const all = Array.from({ length: 50 }, (_, i) => i + 1)
  t.strictSame(await runAll(store, 7), all, 'all')
})

t.test('work that is under way is left alone by who is patient, unless it has failed', async t => {
  const store = await openStore(t)
  await fill(store, 3)
  await store.sql(`insert into replicate_job (fid, slot, next_try, last_error) values
    (1, 0, now() + interval '1 hour', null), (2, 0, now() + interval '1 hour', 'it failed')`)
  await requestReview(store.db, 'all')
  const review = await claim(store)
  const { files, last } = await listReviewed(store.db, review, 10)
  const queued = files.map(file => ({ ...file, copies: 2 }))
  t.equal(await advanceReview(store.db, review, { files: queued, last, patient: true }), true)
  t.strictSame(
    await store.sql('select fid from replicate_job where next_try <= now() order by 1'),
    [{ fid: 2 }, { fid: 3 }],
  )
})

t.test('a step that was claimed by one is not done by another, and falls due again', async t => {
  const store = await openStore(t)
  await fill(store, 5)
  await requestReview(store.db, { devids: [5] })
  const review = await claim(store)
  t.equal(await claimReview(store.db, 60), undefined)
  await store.sql("update review set next_step = now() - interval '1 second'")
  const again = await claim(store)
  t.equal(again.position, review.position)
  const files = [{ fid: 1, slot: 0, copies: 1 }]
  t.equal(await advanceReview(store.db, review, { files, last: 1 }), false, 'it came too late')
  t.strictSame(await store.sql('select fid from replicate_job'), [])
  t.equal(await advanceReview(store.db, again, { files, last: 1 }), true)
  t.equal((await claim(store)).position, 1)
})

t.test('a review that is asked for again begins anew, and one that is called off ends', async t => {
  const store = await openStore(t)
  await fill(store, 5)
  await requestReview(store.db, { devids: [5, 1] })
  const review = await claim(store)
  await requestReview(store.db, { devids: [1, 5] })
  t.equal(await advanceReview(store.db, review, { files: [], last: 3 }), false)
  t.match(await store.sql('select position, round from review'), [{ position: 0, round: 1 }])
  await requestReview(store.db, { domainId: store.domainId, classId: 0 })
  await cancelReviews(store.db, [1, 5, 6])
  t.match(await store.sql('select devids, class_id from review'), [{ devids: null, class_id: 0 }])
  await requestReview(store.db, { devids: [7] }, 60)
  await cancelReviews(store.db, [])
  await claim(store)
  t.equal(await claimReview(store.db, 60), undefined, 'the other one is not due yet')
})

t.test('progress tells what waits and what is expected', async t => {
  const store = await openStore(t)
  t.match(await reviewProgress(store.db), {
    waiting: 0,
    queued: 0,
    expected: 0,
    pending: 0,
    seconds: 0,
  })
  await fill(store, 100)
  await requestReview(store.db, { devids: [5] })
  const { files, last } = await listReviewed(store.db, await claim(store), 25)
  await store.sql('update review set next_step = now()')
  const queued = files.map(file => ({ ...file, copies: 1 }))
  t.equal(await advanceReview(store.db, await claim(store), { files: queued, last }), true)
  t.match(await reviewProgress(store.db), { waiting: 25, queued: 25, expected: 75, pending: 1 })
})

t.test('a copy is recorded under its lease only', async t => {
  const store = await openStore(t)
  const { db, sql } = store
  await fill(store, 4)
  await sql('insert into replicate_job (fid, slot, next_try) select fid, 0, now() from file')
  const jobs = (await claimReplications(db, 10, '-infinity')).sort((a, b) => a.fid - b.fid)
  const made = (fid: number, change: Partial<NewReplica> = {}): NewReplica => ({
    fid,
    slot: 0,
    devid: 8,
    lease: jobs[fid - 1]!.lease,
    sha256: null,
    checksum: null,
    last: true,
    ...change,
  })
  await sql(`insert into delete_job (fid, slot, next_try, devids) values (3, 0, now(), '{8}')`)
  t.strictSame(await findLeaving(db, 3), [8])
  await sql('delete from file where fid = 4')
  const sha256 = Buffer.alloc(32, 1)
  const checksum = { hashtype: 1, digest: Buffer.alloc(16, 2) }
  t.strictSame(
    await recordReplicas(db, [
      made(1, { sha256, checksum }),
      made(2, {
        lease: jobs[0]!.lease.replace(/\d(?=\+)/, digit => String((Number(digit) + 1) % 10)),
      }),
      made(3),
      made(4),
    ]),
    [[2, 5, 8], undefined, undefined, undefined],
  )
  t.match(await sql('select sha256, hashtype, checksum from file where fid = 1'), [
    { sha256, hashtype: 1, checksum: checksum.digest },
  ])
  t.strictSame(await sql('select fid from replicate_job order by fid'), [
    { fid: 2 },
    { fid: 3 },
    { fid: 4 },
  ])
  t.strictSame(await recordReplicas(db, [made(2, { last: false })]), [[3, 5, 8]])
  await sql('update replicate_job set next_try = now() where fid = 2')
  t.strictSame(await recordReplicas(db, [made(2, { devid: 9 })]), [undefined])
})

t.test('the claim of a scrub or a sweep goes on when it is extended in time', async t => {
  const { db, sql } = await openStore(t)
  await sql(`with host as (insert into host (name, status, ip, port)
      values ('h', 'alive', '127.0.0.1', 1) returning id)
    insert into device (id, host_id, status) select 1, id, 'alive' from host`)
  await addSweeps(db, 0)
  const scrub = await claimScrub(db, 5)
  const sweep = await claimSweep(db, 5)
  if (!scrub || !sweep) throw new Error('nothing is due')
  const extend = async (): Promise<void> => {
    await extendScrub(db, scrub.id, 60)
    await extendSweep(db, sweep.devid, 60)
  }
  const left = () =>
    sql<{ left: number }>(`
      select round(extract(epoch from next_step - now()))::int as left
      from (select next_step from scrub union all select next_step from sweep) as claims`)
  await extend()
  t.ok((await left()).every(row => row.left > 30))
  await sql(`with late as (update scrub set next_step = now() - interval '1 second')
    update sweep set next_step = now() - interval '1 second'`)
  await extend()
  t.ok(
    (await left()).every(row => row.left < 0),
    'one that has run out stays so',
  )
})
