import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Courtesy } from '../../../tracker/workers/courtesy.ts'

/** Works through forty pieces of some milliseconds; the whole time as a multiple of that of the work. */
async function workThrough(courtesy: Courtesy): Promise<number> {
  const startedAt = performance.now()
  let workedMs = 0
  for (let n = 0; n < 40; n++) {
    await courtesy.run(async () => {
      const beganAt = performance.now()
      await sleep(10)
      workedMs += performance.now() - beganAt
    })
  }
  return (performance.now() - startedAt) / workedMs
}

t.test('background work rests more than it works while clients ask for much', async t => {
  let asked = 0
  const asking = setInterval(() => (asked += 100), 10)
  t.teardown(() => clearInterval(asking))
  const some = await workThrough(new Courtesy({ total: () => asked / 100, underWay: () => 3 }))
  const many = await workThrough(new Courtesy({ total: () => asked, underWay: () => 0 }))
  const waiting = await workThrough(new Courtesy({ total: () => 0, underWay: () => 4 }))
  t.ok(many > 2, `${many} times as long`)
  t.ok(waiting > 2, `${waiting} times as long while clients wait`)
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
