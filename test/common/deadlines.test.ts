import t from 'tap'
import { Deadlines, type Waited } from '../../common/deadlines.ts'
import { until } from '../helpers/until.ts'

interface Probe extends Waited {
  dueAt: number
  late(): void
  times: number
}

/** Something that is due in so many milliseconds, and counts how often it was told. */
const probe = (ms: number): Probe => ({
  dueAt: performance.now() + ms,
  times: 0,
  late() {
    this.times++
  },
})

t.test('what is late is told once, and not before; what was lifted is not', async t => {
  const deadlines = new Deadlines(5)
  const [soon, later, lifted, moved] = [probe(20), probe(60), probe(10), probe(10)]
  for (const each of [soon, later, lifted, moved]) deadlines.set(each)
  deadlines.lift(lifted)
  moved.dueAt += 60_000
  await until('the first is late', () => soon.times === 1)
  t.ok(performance.now() >= soon.dueAt)
  await until('the second is late', () => later.times === 1)
  t.strictSame([soon.times, lifted.times, moved.times], [1, 0, 0])
  deadlines.lift(moved)
})

t.test('whoever is late may be looked after again', async t => {
  const deadlines = new Deadlines(5)
  const again = probe(0)
  again.late = () => {
    again.times++
    if (again.times < 3) deadlines.set(again)
  }
  deadlines.set(again)
  await until('it was told three times', () => again.times === 3)
  t.pass()
})
