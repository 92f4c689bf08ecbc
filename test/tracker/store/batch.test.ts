import t from 'tap'
import { createBatcher } from '../../../tracker/store/batch.ts'

t.test('what arrives together goes out in one statement', async t => {
  const batches: number[][] = []
  const double = createBatcher<number, number>({
    limit: 3,
    parallel: 1,
    run: async items => {
      batches.push([...items])
      return items.map(item => item * 2)
    },
  })
  t.same(await Promise.all([1, 2, 3, 4, 5].map(double)), [2, 4, 6, 8, 10])
  t.same(batches, [
    [1, 2, 3],
    [4, 5],
  ])
})

t.test('one by itself does not wait for others', async t => {
  let runs = 0
  const same = createBatcher<string, string>({
    limit: 10,
    parallel: 2,
    run: async items => {
      runs++
      return items
    },
  })
  t.equal(await same('a'), 'a')
  t.equal(await same('b'), 'b')
  t.equal(runs, 2)
})

t.test('a bad item fails by itself', async t => {
  const check = createBatcher<string, string>({
    limit: 10,
    parallel: 1,
    run: async items => {
      if (items.includes('bad')) throw new Error(`refused ${items.length}`)
      return items
    },
  })
  const results = await Promise.allSettled(['a', 'bad', 'b'].map(check))
  t.match(results, [
    { status: 'fulfilled', value: 'a' },
    { status: 'rejected', reason: { message: 'refused 1' } },
    { status: 'fulfilled', value: 'b' },
  ])
  t.equal(await check('c'), 'c', 'and nothing is stuck behind it')
})

t.test('no more statements are under way than allowed, and nobody is forgotten', async t => {
  let underWay = 0
  let most = 0
  const same = createBatcher<number, number>({
    limit: 2,
    parallel: 2,
    run: async items => {
      most = Math.max(most, ++underWay)
      await new Promise(resolve => setTimeout(resolve, 1))
      underWay--
      return items
    },
  })
  const items = Array.from({ length: 25 }, (_, i) => i)
  t.same(await Promise.all(items.map(same)), items)
  t.equal(most, 2)
})
