import t from 'tap'
import { fileCounts } from '../../../tracker/commands/tally.ts'
import { countPart } from '../../../tracker/store/tally.ts'
import { createTally } from '../../../tracker/workers/tally.ts'
import { openStore } from './store.ts'

t.test('files are counted by class, copies and device, many of them part by part', async t => {
  const { db, sql, put } = await openStore(t)
  const count = createTally({ db, politely: work => work() })
  await put(1, 'one', [1, 2])
  await put(2, 'two', [2])
  const few = {
    highestFid: 2,
    classes: [
      { domainId: 1, classId: 0, copies: 1, files: 1, bytes: 5 },
      { domainId: 1, classId: 0, copies: 2, files: 1, bytes: 5 },
    ],
    devices: [
      { devid: 1, files: 1, bytes: 5 },
      { devid: 2, files: 2, bytes: 10 },
    ],
  }
  const { part } = await countPart(db, 0)
  t.strictSame(
    {
      ...part,
      classes: part.classes.toSorted((a, b) => a.copies - b.copies),
      devices: part.devices.toSorted((a, b) => a.devid - b.devid),
    },
    few,
  )
  t.match(await fileCounts({ db }), { countedAt: Date, counts: { highestFid: 2 } })

  await sql(`
    insert into file (fid, slot, domain_id, class_id, key, size, devids)
    select fid, 0, 1, 1, fid::text::bytea, 2, '{2,3}' from generate_series(3, 20002) as fid`)
  t.equal(await fileCounts({ db }), undefined, 'many are not counted while somebody waits')
  await count()
  t.equal(await fileCounts({ db }), undefined, 'nor told before the count is over')
  await count()
  const counted = await fileCounts({ db })
  t.equal(counted?.counts.highestFid, 20_002)
  t.strictSame(
    new Set(counted?.counts.classes),
    new Set([...few.classes, { domainId: 1, classId: 1, copies: 2, files: 20_000, bytes: 40_000 }]),
  )
  t.strictSame(
    new Set(counted?.counts.devices),
    new Set([
      { devid: 1, files: 1, bytes: 5 },
      { devid: 2, files: 20_002, bytes: 40_010 },
      { devid: 3, files: 20_000, bytes: 40_000 },
    ]),
  )

  await put(20_003, 'late', [1])
  await count()
  t.strictSame(await fileCounts({ db }), counted, 'which begins again after an hour')
  await sql(
    `update tally set begun_at = begun_at - interval '1 hour', ended_at = ended_at - interval '1 hour'`,
  )
  await count()
  await count()
  t.equal((await fileCounts({ db }))?.counts.highestFid, 20_003)
})
