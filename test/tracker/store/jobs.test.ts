import t from 'tap'
import { claimDeletions, deferDeletion, settleDeletions } from '../../../tracker/store/deletions.ts'
import {
  claimReplications,
  deferReplication,
  insertDeletion,
  queueDepths,
  extendReplication,
  removeReplications,
} from '../../../tracker/store/jobs.ts'
import type { Db } from '../../../tracker/store/db.ts'
import { openStore, type Store } from './store.ts'

const count = 200

async function fill({ sql }: Store): Promise<void> {
  await sql(
    `insert into replicate_job (fid, slot, next_try)
     select i, i % 7, now() - i * interval '1 second' from generate_series(1, $1::int) as i`,
    [count],
  )
  await sql(`insert into delete_job (fid, slot, next_try, devids)
     select fid, slot, next_try, '{1,2}' from replicate_job`)
}

for (const [name, claim] of [
  ['replications', (db: Db, limit: number) => claimReplications(db, limit, '-infinity')],
  ['deletions', claimDeletions],
] as const) {
  t.test(`claims of ${name} at the same time never overlap, and miss nothing`, async t => {
    const store = await openStore(t)
    await fill(store)
    const claimed: number[] = []
    const claimer = async (): Promise<void> => {
      // Whoever comes second to a batch gets nothing of it, and looks again.
      for (let empty = 0; empty < 3;) {
        const jobs = await claim(store.db, 16)
        empty = jobs.length === 0 ? empty + 1 : 0
        claimed.push(...jobs.map(({ fid }) => fid))
        t.ok(jobs.every(({ attempts }) => attempts === 1))
      }
    }
    await Promise.all([claimer(), claimer(), claimer(), claimer()])
    t.equal(new Set(claimed).size, claimed.length)
    t.equal(claimed.length, count)
  })

  t.test(`the oldest due ${name} are claimed first, and fall due again`, async t => {
    const store = await openStore(t)
    await fill(store)
    const first = (await claim(store.db, 3)).map(({ fid }) => fid).sort((a, b) => a - b)
    t.strictSame(first, [count - 2, count - 1, count])
    const table = name === 'replications' ? 'replicate_job' : 'delete_job'
    const [lease] = await store.sql<{ seconds: number }>(
      `select extract(epoch from max(next_try) - now())::int as seconds from ${table}`,
    )
    t.ok((lease?.seconds ?? 0) > 100 && (lease?.seconds ?? 0) <= 120)
    await store.sql(`update ${table} set next_try = now() - interval '1 day' where attempts > 0`)
    const again = await claim(store.db, 3)
    t.strictSame(
      again.map(({ fid }) => fid).sort((a, b) => a - b),
      first,
    )
    t.ok(again.every(({ attempts }) => attempts === 2))
  })

  t.test(`${name} that wait for a person or for later are left alone`, async t => {
    const store = await openStore(t)
    await fill(store)
    const table = name === 'replications' ? 'replicate_job' : 'delete_job'
    await store.sql(`update ${table} set next_try = 'infinity' where fid % 2 = 0`)
    await store.sql(`update ${table} set next_try = now() + interval '1 minute' where fid % 2 = 1`)
    t.strictSame(await claim(store.db, 10), [])
  })
}

t.test('a job that is put back keeps its reason and shows in the depths', async t => {
  const store = await openStore(t)
  const { db, sql } = store
  await fill(store)
  const file = { fid: 5, slot: 5 }
  await sql("update replicate_job set next_try = '-infinity' where fid = 5")
  const [job] = await claimReplications(db, 1, '-infinity')
  if (job?.fid !== 5) throw new Error('another job was due first')
  await deferReplication(db, job, { seconds: 60, error: 'no device takes new files' })
  await deferDeletion(db, { ...file, lease: 'now' }, { seconds: 60, error: 'device 2 is away' })
  await settleDeletions(db, [{ ...file, done: [1], removed: [1] }])
  t.match(await sql('select devids, last_error from delete_job where fid = 5'), [
    { devids: [2], last_error: 'device 2 is away' },
  ])
  t.strictSame(await queueDepths(db), {
    replicate: { waiting: count, due: count - 1, lastError: 'no device takes new files' },
    delete: { waiting: count, due: count - 1, lastError: 'device 2 is away' },
  })
  await removeReplications(db, [job])
  t.equal((await queueDepths(db)).replicate.waiting, count, 'it is not under way any more')
  await sql("update replicate_job set next_try = '-infinity' where fid = 5")
  await removeReplications(db, await claimReplications(db, 1, '-infinity'))
  await settleDeletions(db, [{ ...file, done: [1, 2], removed: [2] }])
  t.match(await queueDepths(db), { replicate: { lastError: null }, delete: { waiting: count - 1 } })
})

t.test('what has to be deleted where others alone reach is left to them', async t => {
  const { db, sql } = await openStore(t)
  await sql(`
    insert into delete_job (fid, slot, devids, next_try)
    values (1, 0, '{1}', now()), (2, 0, '{1,2}', now()), (3, 0, '{2}', now()), (4, 0, '{}', now())`)
  const claimed = async (others: number[]): Promise<number[]> =>
    (await claimDeletions(db, 10, others)).map(({ fid }) => fid).sort((a, b) => a - b)
  t.strictSame(await claimed([1]), [2, 3, 4])
  t.strictSame(await claimed([]), [1])
})

t.test('a deletion that another one has by now stays as long as he has it', async t => {
  const { db, sql } = await openStore(t)
  await sql(`insert into delete_job (fid, slot, devids, next_try) values (1, 0, '{1}', now())`)
  const [job] = await claimDeletions(db, 1)
  if (!job) throw new Error('none was due')
  const wait = async (): Promise<number> => {
    const due = 'select extract(epoch from next_try - now())::float8 as wait from delete_job'
    return (await sql<{ wait: number }>(due))[0]?.wait ?? 0
  }
  await deferDeletion(db, { ...job, lease: 'now' }, { seconds: 5, error: 'late' })
  t.ok((await wait()) > 60)
  await deferDeletion(db, job, { seconds: 5, error: 'in time' })
  t.ok((await wait()) <= 5)
})

t.test('bytes that turn up while those of their file are removed are due at once', async t => {
  const { db, sql } = await openStore(t)
  await sql(
    `insert into delete_job (fid, slot, devids, next_try)
     values (1, 0, '{1}', now()), (2, 0, '{1}', now() + interval '10 seconds')`,
  )
  t.strictSame(
    (await claimDeletions(db, 10)).map(({ fid }) => fid),
    [1],
  )
  const stray = { devids: [2], seconds: 0 }
  for (const fid of [1, 2]) await insertDeletion(db, { fid, slot: 0 }, stray)
  await settleDeletions(db, [{ fid: 1, slot: 0, done: [1], removed: [1] }])
  const [job, ...more] = await claimDeletions(db, 10)
  t.match(job, { fid: 1, devids: [2] })
  t.strictSame(more, [], 'not those of a file whose readers still have their time')
})

t.test('files with the fewest copies come first', async t => {
  const { db, sql } = await openStore(t)
  await sql(
    `insert into replicate_job (fid, slot, next_try, copies)
     select i, 0, now() - i * interval '1 second', i % 3 from generate_series(1, 9) as i`,
  )
  const order: number[] = []
  for (let i = 0; i < 9; i++) {
    order.push(...(await claimReplications(db, 1, '-infinity')).map(({ fid }) => fid))
  }
  t.strictSame(order, [9, 6, 3, 7, 4, 1, 8, 5, 2])
})

t.test('a claim holds until it runs out or somebody asks for the file again', async t => {
  const { db, sql } = await openStore(t)
  await sql(`insert into replicate_job (fid, slot, next_try) values (1, 0, now())`)
  const claim = async () => {
    const [job] = await claimReplications(db, 1, '-infinity')
    if (!job) throw new Error('nothing is due')
    return job
  }
  const job = await claim()
  const { lease } = job
  t.equal(await extendReplication(db, job), true)
  t.not(job.lease, lease)
  t.equal(await extendReplication(db, { ...job, lease }), false, 'the old lease is no good')

  await sql('update replicate_job set next_try = now() where fid = 1')
  t.equal(await extendReplication(db, job), false)
  await removeReplications(db, [job])
  await deferReplication(db, job, { seconds: 1000, error: 'too late' })
  const again = await claim()
  t.equal(again.attempts, 2, 'it was neither removed nor put back')
  await deferReplication(db, again, { seconds: null, error: 'nobody has it' })
  t.strictSame(await sql('select next_try::text, last_error from replicate_job'), [
    { next_try: 'infinity', last_error: 'nobody has it' },
  ])
})

t.test('a claim tells when something changed after the configuration was read', async t => {
  const { db, sql } = await openStore(t)
  const newsAt = async (readAt: string): Promise<boolean[]> => {
    await sql('delete from replicate_job')
    await sql(`insert into replicate_job (fid, slot, next_try, changed_at) values
      (1, 0, now(), '2020-01-01Z'), (2, 0, now(), null)`)
    const jobs = await claimReplications(db, 2, readAt)
    t.equal(jobs.filter(({ reviewed }) => reviewed).length, 1)
    return jobs.sort((a, b) => a.fid - b.fid).map(({ news }) => news)
  }
  t.strictSame(await newsAt('2019-12-31 23:59:59Z'), [true, false])
  t.strictSame(await newsAt('2020-01-01 00:00:01Z'), [false, false])
  t.strictSame(await newsAt('-infinity'), [true, false])
})
