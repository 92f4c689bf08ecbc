import t, { type Test } from 'tap'
import {
  clearFindings,
  insertFindings,
  listFindings,
  queueChecks,
  readFsck,
  resetFsck,
  startFsck,
  stopFsck,
  type FsckEvent,
} from '../../../tracker/store/fsck.ts'
import {
  claimChecks,
  extendChecks,
  forgetDamageOfGone,
  leaseSeconds,
  listDamage,
  noteDamage,
  queueWholeChecks,
} from '../../../tracker/store/checks.ts'
import { writeUpkeep } from '../../../tracker/store/upkeep.ts'
import { openPool, openStore, type Store } from './store.ts'
import { testDatabase } from '../../helpers/postgres.ts'

interface Fsck extends Store {
  readonly start: (host?: string) => Promise<string>
  readonly step: (rate: number, size?: number) => Promise<number>
  readonly waiting: () => Promise<number[]>
}

async function openFsck(t: Test): Promise<Fsck> {
  const store = await openStore(t)
  const { db, sql } = store
  return {
    ...store,
    start: (host = 'here') => db.transaction(tx => startFsck(tx, host)),
    step: (rate, size = 1000) => db.transaction(tx => queueChecks(tx, { rate, size })),
    async waiting() {
      const rows = await sql<{ fid: number }>('select fid from check_job order by fid')
      return rows.map(({ fid }) => fid)
    },
  }
}

t.test('a run goes through the files in steps, to the newest one of its start', async t => {
  const { db, sql, put, start, step, waiting } = await openFsck(t)
  for (const fid of [3, 5, 8, 9]) await put(fid, `key ${fid}`)
  t.match(await readFsck(db), { host: undefined, highestFid: 0, endFid: 0, startTime: 0 })

  t.equal(await step(10), 0, 'nothing happens before the start')
  t.equal(await start(), 'nothing')
  await put(10, 'uploaded after the start')
  t.match(await readFsck(db), { host: 'here', highestFid: 0, endFid: 9, stopTime: 0 })

  t.equal(await step(2), 2)
  t.strictSame(await waiting(), [3, 5])
  t.match(await readFsck(db), { highestFid: 5, queued: 2 })
  t.equal(await step(2, 2), 0, 'as many wait as may')
  t.equal(await step(2, 3), 1, 'one more may wait')
  await sql('delete from check_job')
  t.equal(await step(10), 1)
  t.match(await readFsck(db), { host: 'here', highestFid: 9, queued: 4 })
  t.equal(await step(10), 0)
  const ended = await readFsck(db)
  t.match(ended, { host: undefined, highestFid: 9, endFid: 9 })
  t.ok(ended.stopTime >= ended.startTime && ended.currentTime >= ended.stopTime)
  t.strictSame(await waiting(), [9])
})

t.test('a start after a stop goes on, and one after the end takes what is new', async t => {
  const { db, put, start, step, waiting } = await openFsck(t)
  for (const fid of [1, 2, 3]) await put(fid, `key ${fid}`)
  await start()
  await step(1)
  await db.transaction(tx => stopFsck(tx))
  t.match(await readFsck(db), { host: undefined, highestFid: 1, endFid: 3 })
  t.equal(await step(10), 0, 'it is stopped')
  await put(4, 'new')

  t.equal(await start('there'), 'nothing')
  t.match(await readFsck(db), { host: 'there', highestFid: 1, endFid: 3, stopTime: 0, queued: 0 })
  t.equal(await step(10), 2)
  t.equal(await step(10), 0)

  await start()
  t.match(await readFsck(db), { highestFid: 3, endFid: 4 })
  t.equal(await step(10), 1)
  t.strictSame(await waiting(), [1, 2, 3, 4])
})

t.test('files that are deleted under way do not keep a run from its end', async t => {
  const { db, sql, put, start, step } = await openFsck(t)
  for (const fid of [1, 2]) await put(fid, `key ${fid}`)
  await start()
  await sql('delete from file where fid = 2')
  t.equal(await step(10), 1)
  t.equal(await step(10), 0)
  t.match(await readFsck(db), { host: undefined, highestFid: 2, endFid: 2 })
  await put(3, 'new')
  await start()
  t.match(await readFsck(db), { highestFid: 2, endFid: 3 }, 'the next start begins a new run')
})

t.test('a reset goes back, to the beginning or to a place', async t => {
  const { db, put, start, step } = await openFsck(t)
  for (const fid of [1, 2, 3]) await put(fid, `key ${fid}`)
  await start()
  await db.transaction(tx => insertFindings(tx, [{ fid: 1, slot: 0, event: 'MISS', devid: 1 }]))
  await step(10)
  await step(10)
  await put(4, 'new')
  await db.transaction(tx => resetFsck(tx, { policyOnly: true, highestFid: 2 }))
  const reset = await readFsck(db)
  t.match(reset, { highestFid: 2, endFid: 4, policyOnly: true, startTime: 0, stopTime: 0 })
  t.strictSame([...reset.counts], [])
  t.equal(reset.maxLogid, 1, 'the log stays')
  await start()
  t.equal(await step(10), 2)
  await db.transaction(tx => resetFsck(tx, { policyOnly: false, highestFid: 0 }))
  t.match(await readFsck(db), { highestFid: 0, policyOnly: false, host: 'here' })
})

t.test('two trackers that start at once: one does', async t => {
  const { url } = await testDatabase(t)
  const one = openPool(t, url)
  const other = openPool(t, url)
  const starts = await Promise.all(
    [one, other, one, other].map((db, i) => db.transaction(tx => startFsck(tx, `host ${i}`))),
  )
  t.strictSame(starts.sort(), ['fsck', 'fsck', 'fsck', 'nothing'])

  await one.transaction(tx => stopFsck(tx))
  await one.transaction(tx => writeUpkeep(tx, { rebal_host: 'somewhere' }))
  t.equal(await other.transaction(tx => startFsck(tx, 'host')), 'rebalance')
})

t.test('steps of several trackers queue each file once', async t => {
  const { url } = await testDatabase(t)
  const trackers = [openPool(t, url), openPool(t, url)]
  const [first] = trackers
  await first!.query({
    text: `insert into file (fid, slot, domain_id, class_id, key, size, devids)
      select i, i % 4096, 1, 0, ('f' || i)::bytea, 1, '{1}' from generate_series(1, 500) as i`,
  })
  await first!.transaction(tx => startFsck(tx, 'host'))
  const steps = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      trackers[i % 2]!.transaction(tx => queueChecks(tx, { rate: 50, size: 1000 })),
    ),
  )
  t.equal(
    steps.reduce((sum, step) => sum + step, 0),
    500,
  )
  const state = await readFsck(first!)
  t.match(state, { host: undefined, highestFid: 500, queued: 500 })
})

t.test('findings are numbered in the order of their commits, and counted', async t => {
  const { url } = await testDatabase(t)
  const trackers = [openPool(t, url), openPool(t, url)]
  const [db] = trackers
  const events: FsckEvent[] = ['MISS', 'REPL', 'BLEN']
  const seen: number[] = []
  let busy = true
  const reader = (async () => {
    while (busy || (await listFindings(db!, { after: seen.at(-1) ?? 0, limit: 1 })).length > 0) {
      const rows = await listFindings(db!, { after: seen.at(-1) ?? 0, limit: 7 })
      seen.push(...rows.map(({ logid }) => logid))
    }
  })()
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      trackers[i % 2]!.transaction(tx =>
        insertFindings(
          tx,
          events.map(event => ({ fid: i + 1, slot: 0, event })),
        ),
      ),
    ),
  )
  busy = false
  await reader
  t.strictSame(
    seen,
    Array.from({ length: 90 }, (_, i) => i + 1),
    'one who reads along misses nothing',
  )
  const counts = { MISS: 30, REPL: 30, BLEN: 30 }
  t.strictSame(Object.fromEntries((await readFsck(db!)).counts), {
    BLEN: counts.BLEN,
    MISS: counts.MISS,
    REPL: counts.REPL,
  })

  await db!.transaction(tx => clearFindings(tx))
  t.strictSame(await listFindings(db!, { after: 0, limit: 10 }), [])
  t.match(await readFsck(db!), { maxLogid: 0 })
  t.equal((await readFsck(db!)).counts.get('MISS'), 30, 'clearing the log forgets no count')
  await db!.transaction(tx => insertFindings(tx, [{ fid: 4, slot: 2, event: 'BLEN', devid: 9 }]))
  const [row] = await listFindings(db!, { after: 0, limit: 10 })
  t.match(row, { logid: 91, fid: 4, event: 'BLEN', devid: 9 })
  t.ok(Math.abs((row?.at ?? 0) - (await readFsck(db!)).currentTime) < 600)
})

t.test('what a transaction found is gone when it fails', async t => {
  const { db } = await openFsck(t)
  await t.rejects(
    db.transaction(async tx => {
      await insertFindings(tx, [{ fid: 1, slot: 0, event: 'GONE' }])
      throw new Error('as planned')
    }),
    /as planned/,
  )
  t.strictSame(await listFindings(db, { after: 0, limit: 10 }), [])
  t.equal((await readFsck(db)).counts.size, 0)
})

t.test('what is wrong with a file is known until it is gone for good', async t => {
  const { db, sql, put, move, remove } = await openFsck(t)
  const one = await put(1, 'one')
  await put(2, 'two')
  await put(3, 'three')
  for (const file of [one, { fid: 2, slot: 7 }, { fid: 3, slot: 7 }]) {
    t.equal(await noteDamage(db, file, 'it is broken'), true)
  }
  t.equal(await noteDamage(db, one, 'it is broken'), false)
  const moved = await move('one', 'other')
  t.equal(await noteDamage(db, moved!, 'it is broken'), true)
  const known = async (): Promise<number[]> =>
    (await listDamage(db, { after: 0, limit: 10 })).map(({ fid }) => fid)
  t.strictSame(await known(), [1, 2, 3], 'each once, whatever it is called')

  await remove('two')
  await sql('update domain set trash_seconds = 60')
  await remove('three')
  await forgetDamageOfGone(db)
  t.strictSame(await known(), [1])
  t.strictSame(await sql('select fid from damage order by fid'), [{ fid: 1 }, { fid: 3 }])
  await sql(
    'insert into damage (fid, slot, why) select n, 0, $1 from generate_series(10, 3000) n',
    ['gone'],
  )
  await forgetDamageOfGone(db)
  t.strictSame(await sql('select fid from damage order by fid'), [{ fid: 1 }, { fid: 3 }])
})

t.test('a check that takes long stays with whoever has it', async t => {
  const { db, sql, put } = await openFsck(t)
  const files = [await put(1, 'one'), await put(2, 'two'), await put(3, 'three')]
  await queueWholeChecks(db, files)
  const claimed = await claimChecks(db, 10)
  t.equal(claimed.length, 3)
  await sql(`update check_job set next_try = case fid
    when 1 then now() + interval '10 seconds'
    when 2 then now() + interval '10 minutes'
    else now() - interval '1 second' end`)
  await extendChecks(db, claimed)
  const seconds = await sql<{ left: number }>(
    'select round(extract(epoch from next_try - now()) / 60)::int as left from check_job order by fid',
  )
  t.strictSame(
    seconds.map(({ left }) => left),
    [leaseSeconds / 60, 10, 0],
  )
  t.match(await claimChecks(db, 10), [{ fid: 3 }])
})
