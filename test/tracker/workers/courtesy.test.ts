import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Courtesy } from '../../../tracker/workers/courtesy.ts'

/** Works through `count` pieces of `ms` milliseconds, so many at once; how long that takes. */
async function workThrough(
  courtesy: Courtesy,
  { count, ms, atOnce }: { count: number; ms: number; atOnce: number },
): Promise<number> {
  const startedAt = performance.now()
  let left = count
  const lane = async (): Promise<void> => {
    while (left-- > 0) await courtesy.run(() => sleep(ms))
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  return performance.now() - startedAt
}

const work = { count: 40, ms: 10, atOnce: 1 }

t.test('background work rests more than it works while clients ask for much', async t => {
  let asked = 0
  const asking = setInterval(() => (asked += 100), 10)
  t.teardown(() => clearInterval(asking))
  const quiet = await workThrough(new Courtesy({ total: () => 0, underWay: () => 0 }), work)
  const some = await workThrough(
    new Courtesy({ total: () => asked / 100, underWay: () => 3 }),
    work,
  )
  const many = await workThrough(new Courtesy({ total: () => asked, underWay: () => 0 }), work)
  const waiting = await workThrough(new Courtesy({ total: () => 0, underWay: () => 4 }), work)
  t.ok(many > 1.8 * quiet, `${many} ms, ${quiet} ms alone`)
  t.ok(waiting > 1.8 * quiet, `${waiting} ms while clients wait, ${quiet} ms alone`)
  t.ok(some < many, 'a few do not count')
})

t.test('what fails is told, and long work does not hold up the rest for ever', async t => {
  const courtesy = new Courtesy({ total: () => 0, underWay: () => 9 })
  await t.rejects(
    courtesy.run(() => Promise.reject(new Error('failed'))),
    /failed/,
  )
  let end = (): void => {}
  const long = courtesy.run(
    () =>
      new Promise<void>(resolve => {
        end = resolve
      }),
  )
  await sleep(150)
  t.equal(await courtesy.run(() => Promise.resolve('done')), 'done')
  end()
  await long
})
