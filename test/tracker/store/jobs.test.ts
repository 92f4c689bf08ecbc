import t from 'tap'
import {
  claimDeletions,
  claimReplications,
  deferDeletion,
  deferReplication,
  queueDepths,
  removeDeletion,
  removeReplication,
} from '../../../tracker/store/jobs.ts'
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
  ['replications', claimReplications],
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
  await deferReplication(db, file, { seconds: 60, error: 'no device takes new files' })
  await deferDeletion(db, file, { devids: [2], seconds: 60, error: 'device 2 is away' })
  t.match(await sql('select devids, last_error from delete_job where fid = 5'), [
    { devids: [2], last_error: 'device 2 is away' },
  ])
  t.strictSame(await queueDepths(db), {
    replicate: { waiting: count, due: count - 1, lastError: 'no device takes new files' },
    delete: { waiting: count, due: count - 1, lastError: 'device 2 is away' },
  })
  await removeReplication(db, file)
  await removeDeletion(db, file)
  t.match(await queueDepths(db), { replicate: { lastError: null }, delete: { waiting: count - 1 } })
})
