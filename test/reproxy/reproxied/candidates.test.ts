import t from 'tap'
import { Metrics } from '../../../reproxy/operation/metrics.ts'
import { RetryBudget } from '../../../reproxy/nodes/retry-budget.ts'
import { parseTargets } from '../../../reproxy/nodes/targets.ts'
import { Candidates } from '../../../reproxy/reproxied/candidates.ts'

const targets = parseTargets('http://a/ http://b/ http://c/')
const [a, b, c] = targets as [(typeof targets)[0], (typeof targets)[0], (typeof targets)[0]]

function candidates({ most = 100, list = targets, budget = 100 } = {}): {
  all: Candidates
  ask: () => string | undefined
} {
  const metrics = new Metrics({ inflight: () => 0, breakers: () => [] })
  const retries = new RetryBudget({ ratio: 0, min: budget, inflight: () => 0 })
  const all = new Candidates(list, { budget: retries, metrics, most })
  return { all, ask: () => all.next()?.target.host }
}

t.test('each is asked once, in order, before anything has come', async t => {
  const { all, ask } = candidates()
  all.begin()
  for (const wanted of ['a', 'b', 'c', undefined, undefined]) {
    const host = ask()
    t.equal(host, wanted)
    if (host) all.failed({ a, b, c }[host as 'a'])
  }
})

t.test('those that failed before one did its part are asked again', async t => {
  const { all, ask } = candidates()
  all.begin()
  t.equal(ask(), 'a')
  all.failed(a)
  t.equal(ask(), 'b')
  all.brokeOff(b, true)
  all.begin()
  t.strictSame([ask(), ask()], ['c', 'a'])
})

t.test('before a body is given up for lost, all others have a second turn, once', async t => {
  const { all, ask } = candidates()
  all.begin()
  t.equal(ask(), 'a')
  all.brokeOff(a, true)
  all.begin()
  t.equal(ask(), 'b')
  all.failed(b)
  t.equal(ask(), 'c')
  all.failed(c)
  t.equal(ask(), 'a', 'it may be back')
  all.brokeOff(a, false)
  all.begin()
  t.strictSame([ask(), ask(), ask()], ['b', 'c', undefined])
})

t.test('with two replicas, or one, none is asked again that has just broken off', async t => {
  const { all, ask } = candidates({ list: [a, b] })
  all.begin()
  t.equal(ask(), 'a')
  all.brokeOff(a, true)
  all.begin()
  t.equal(ask(), 'b')
  all.failed(b)
  t.equal(ask(), undefined)
})

t.test('what was found wrong is never asked again', async t => {
  const { all, ask } = candidates()
  all.begin()
  t.equal(ask(), 'a') // and not told of: it was wrong
  t.equal(ask(), 'b')
  all.brokeOff(b, true)
  all.begin()
  t.equal(ask(), 'c')
  all.failed(c)
  t.strictSame([ask(), ask()], ['b', undefined])
})

t.test('no more are asked than may be, and repetitions need a share of the budget', async t => {
  const few = candidates({ most: 2 })
  t.strictSame([few.ask(), few.ask(), few.ask()], ['a', 'b', undefined])
  const poor = candidates({ budget: 1 })
  t.strictSame([poor.all.next()?.paid, poor.all.next()?.paid], [false, true])
  t.equal(poor.ask(), undefined)
  t.equal(poor.all.some, true)
})
