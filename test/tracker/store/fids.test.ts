import t from 'tap'
import { createFidAllocator, type FidAllocator } from '../../../tracker/store/fids.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { openSql } from '../database.ts'
import { openPool } from './store.ts'

t.test('no number is given out twice, however many ask', async t => {
  const { url } = await testDatabase(t)
  const pools = [openPool(t, url), openPool(t, url), openPool(t, url)]
  const allocators = pools.map(createFidAllocator)
  const given: number[] = []
  const take = async (allocator: FidAllocator): Promise<void> => {
    for (let i = 0; i < 900; i++) given.push(await allocator.next())
  }
  const claim = async (): Promise<void> => {
    for (let fid = 0; fid < 8000; fid += 37) {
      if (await allocators[0]!.claim(fid)) given.push(fid)
    }
  }
  await Promise.all([...allocators, ...allocators].map(take).concat(claim()))
  t.equal(new Set(given).size, given.length)
  t.ok(given.every(fid => Number.isSafeInteger(fid) && fid > 0))
})

t.test('a number is claimed once, and only from what no tracker has taken', async t => {
  const { url } = await testDatabase(t)
  const db = openPool(t, url)
  const allocator = createFidAllocator(db)
  const other = createFidAllocator(db)
  const claims = await Promise.all([allocator, other, allocator].map(one => one.claim(1500)))
  t.strictSame(claims.filter(Boolean), [true])
  t.equal(await other.claim(1500), false)

  t.equal(await allocator.next(), 1)
  t.equal(await other.claim(700), false, 'the block belongs to the other allocator')
  t.equal(await allocator.claim(700), true, 'which has not given it out yet')
  t.equal(await allocator.claim(700), false)
  t.equal(await allocator.claim(1), false)
  t.equal(await other.claim(2147483632), true)

  const rest = await Promise.all(Array.from({ length: 1998 }, () => allocator.next()))
  t.notOk(rest.includes(700) || rest.includes(1500), 'it leaves claimed numbers out')
  t.equal(rest.at(-1), 2001)
})

t.test('an allocator goes on after the database failed it', async t => {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  const allocator = createFidAllocator(openPool(t, url))
  await sql('alter table fid_counter rename to away')
  await t.rejects(allocator.next())
  await sql('alter table away rename to fid_counter')
  t.equal(await allocator.next(), 1)
})
