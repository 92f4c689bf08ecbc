import t from 'tap'
import { retrySeconds } from '../../../tracker/policy/retry.ts'

t.test('each failed try waits longer, up to a day', async t => {
  const middle = (attempts: number): number => retrySeconds(attempts, () => 0.5)
  const ladder = [15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400, 86400, 86400]
  t.strictSame(
    ladder.map((_, i) => middle(i + 1)),
    ladder,
  )
  t.equal(middle(1000), 86400)
  t.equal(middle(0), 15)
})

t.test('the wait varies by a fifth and is whole seconds', async t => {
  t.equal(
    retrySeconds(2, () => 0),
    48,
  )
  t.equal(
    retrySeconds(2, () => 0.999999),
    71,
  )
  t.equal(
    retrySeconds(1, () => 0.123),
    12,
  )
})
