import t from 'tap'
import { Gate } from '../../storage-node/disk/gate.ts'
import { until } from '../helpers/until.ts'

type Done = (err: Error | null, value?: unknown) => void
const quick = { limit: 2, waiting: 2, hangMs: 100, probeMs: 50 }
const never = (): void => {}
const noProbe = (): void => {}

// The gate's own timer does not keep a process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

void t.test('only so many calls are under way, so many wait, and one more is refused', async t => {
  const gate = new Gate(1, noProbe, { ...quick, hangMs: 60_000 })
  const begun: Done[] = []
  const call = () => gate.run(done => void begun.push(done))
  const calls = [call(), call(), call(), call()]
  await t.rejects(call(), { code: 'overloaded' })
  t.equal(begun.length, 2)
  begun[0]!(null, 'first')
  t.equal(await calls[0], 'first')
  t.equal(begun.length, 3, 'the next one has begun')
  begun[1]!(new Error('broken'))
  await t.rejects(calls[1]!, /broken/)
  begun[2]!(null, 3)
  begun[3]!(null, 4)
  t.same(await Promise.all(calls.slice(2)), [3, 4])
})

void t.test(
  'a higher limit lets those who wait begin, a lower one holds for those who come',
  async t => {
    const gate = new Gate(1, noProbe, { ...quick, hangMs: 60_000 })
    const begun: Done[] = []
    const call = () => gate.run(done => void begun.push(done))
    const calls = [call(), call(), call(), call()]
    gate.limit = 3
    t.equal(begun.length, 3)
    gate.limit = 1
    for (const done of begun.slice(0, 2)) done(null)
    await Promise.all(calls.slice(0, 2))
    t.equal(begun.length, 3, 'one is still under way')
    begun[2]!(null)
    await calls[2]
    t.equal(begun.length, 4)
    begun[3]!(null)
    await calls[3]
  },
)

void t.test('a call that hangs is given up, and so is what waits and what comes', async t => {
  const gate = new Gate(1, noProbe, quick)
  const hanging = [gate.run(never), gate.run(never), gate.run(never)]
  const results = await Promise.allSettled(hanging)
  for (const result of results)
    t.match(result, { status: 'rejected', reason: { code: 'device_failed' } })
  t.ok(gate.hung)
  await t.rejects(
    gate.run(() => t.fail('nothing is begun')),
    { code: 'device_failed' },
  )
})

void t.test('a disk that answers again is used again', async t => {
  const probes: Done[] = []
  const gate = new Gate(1, done => void probes.push(done), quick)
  await t.rejects(gate.run(never), { code: 'device_failed' })
  await until('it is probed', () => probes.length > 0)
  await new Promise(resolve => setTimeout(resolve, 200))
  t.equal(probes.length, 1, 'one probe at a time')
  t.ok(gate.hung)
  probes[0]!(null)
  t.notOk(gate.hung)
  t.equal(await gate.run(done => done(null, 'again')), 'again')
})

void t.test('a call that comes back late says that the disk lives', async t => {
  const gate = new Gate(1, noProbe, { ...quick, probeMs: 60_000 })
  let late: Done = never
  await t.rejects(
    gate.run(done => {
      late = done
    }),
    { code: 'device_failed' },
  )
  t.ok(gate.hung)
  late(null)
  t.notOk(gate.hung)
  t.equal(await gate.run(done => done(null, 1)), 1)
})
