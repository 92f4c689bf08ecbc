import t from 'tap'
import { insertDeletion } from '../../../tracker/store/jobs.ts'
import {
  claimMoves,
  countFilesOn,
  deferMove,
  extendMove,
  insertMoves,
  recordMoved,
  removeMove,
  type MoveJob,
} from '../../../tracker/store/rebalance.ts'
import { openStore, type Store } from './store.ts'

/** Queues a move away from device 1 of a file that is there and on 2, and claims it. */
async function claimed({ db, put }: Store): Promise<MoveJob> {
  const file = await put(1, 'key', [1, 2])
  await insertMoves(db, [{ ...file, devid: 1, devids: [] }])
  const [job] = await claimMoves(db, 10)
  if (!job) throw new Error('nothing was claimed')
  return job
}

/** A copy of that file on device 3. */
const copyOf = ({ slot }: MoveJob) => ({ slot, devid: 3, sha256: Buffer.alloc(32, 7) })

t.test('the copy of a move is noted under its claim alone', async t => {
  const store = await openStore(t)
  const { db, sql, find, put, move } = store
  const job = await claimed(store)
  const copy = copyOf(job)
  t.strictSame(await claimMoves(db, 10), [], 'nobody else gets it')
  const late = { ...job }
  t.equal(await extendMove(db, job), true)
  t.equal(await extendMove(db, late), false, 'with what it was, nobody goes on')
  t.equal(await recordMoved(db, late, copy), false)
  t.strictSame((await find('key'))?.devids, [1, 2])
  t.equal(await recordMoved(db, job, copy), true)
  t.equal(await recordMoved(db, job, copy), true, 'twice is once')
  t.match(await find('key'), { devids: [1, 2, 3], sha256: copy.sha256 })
  t.equal(await recordMoved(db, job, { ...copy, devid: 4, sha256: Buffer.alloc(32, 8) }), true)
  t.same((await find('key'))?.sha256, copy.sha256, 'a known digest stays')

  await sql('update rebalance_job set next_try = now()')
  t.equal(await recordMoved(db, job, { ...copy, devid: 5 }), false, 'it has run out')
  const [again] = await claimMoves(db, 10)
  await removeMove(db, job)
  await deferMove(db, job, { seconds: 0, error: 'too late' })
  t.match(await sql('select attempts, last_error from rebalance_job'), [
    { attempts: 2, last_error: null },
  ])
  const renamed = await move('key', 'other')
  t.equal(await recordMoved(db, again!, { ...copy, devid: 5 }), false, 'it is not there any more')
  t.equal(await recordMoved(db, again!, { ...copy, slot: renamed!.slot }), true, 'but there')
  await put(2, 'other', [1])
  t.equal(await recordMoved(db, again!, copy), false, 'the content is gone')
  await removeMove(db, again!)
  t.strictSame(await sql('select from rebalance_job'), [])
})

t.test('no copy is noted where its bytes wait for their deletion', async t => {
  const store = await openStore(t)
  const job = await claimed(store)
  const copy = copyOf(job)
  await insertDeletion(store.db, job, { devids: [3], seconds: 60 })
  t.equal(await recordMoved(store.db, job, copy), false)
  t.equal(await recordMoved(store.db, job, { ...copy, devid: 4 }), true)
})

t.test('what lies on a device is counted', async t => {
  const { db, put } = await openStore(t)
  await put(1, 'a', [1, 2])
  await put(2, 'b', [1])
  t.strictSame(await countFilesOn(db, [3, 1]), [
    { devid: 1, files: 2, bytes: 10 },
    { devid: 3, files: 0, bytes: 0 },
  ])
})
