import t, { type Test } from 'tap'
import type { Logger } from '../../common/log.ts'
import { createRecovery } from '../../storage-node/device/recovery.ts'
import { until } from '../helpers/until.ts'

const firstMs = 12

interface Tried {
  /** Milliseconds of the pauses after tests that failed. */
  readonly pauses: number[]
  /** The tests made so far, by device. */
  readonly tests: number[]
  readonly mended: number[]
  readonly watch: (devid: number) => void
  /** What the next tests come to; those that follow succeed. */
  readonly results: boolean[]
}

function tryOut(t: Test): Tried {
  const [pauses, tests, mended, results] = [[], [], [], []] as [
    number[],
    number[],
    number[],
    boolean[],
  ]
  const log = { warn: ({ ms }: { ms: number }) => pauses.push(ms) } as unknown as Logger
  const recovery = createRecovery({
    firstMs,
    test: devid => {
      tests.push(devid)
      return results.shift() === false ? Promise.reject(new Error('EIO')) : Promise.resolve()
    },
    onMended: devid => mended.push(devid),
    log,
  })
  t.teardown(() => recovery.close())
  return { pauses, tests, mended, results, watch: recovery.watch }
}

// Its pauses do not keep a process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

void t.test(
  'three tests in a row must succeed, and one that fails lets them begin anew',
  async t => {
    const { tests, mended, results, pauses, watch } = tryOut(t)
    results.push(true, true, false, false, true, false)
    const begunAt = performance.now()
    watch(7)
    watch(7)
    await until('it is mended', () => mended.length > 0)
    t.same(mended, [7])
    t.equal(tests.length, 9, 'though asked twice')
    t.same(
      pauses,
      [2, 4, 8].map(times => times * firstMs),
    )
    const leastMs = firstMs * (1 + 1 / 3 + 1 / 3 + 2 + 4 + 1 / 3 + 8 + 1 / 3 + 1 / 3)
    t.ok(performance.now() - begunAt >= leastMs - 10)
  },
)

void t.test('pauses double up to twenty times the first', async t => {
  const { mended, results, pauses, watch } = tryOut(t)
  results.push(...Array.from({ length: 7 }, () => false))
  watch(1)
  await until('it is mended', () => mended.length > 0)
  t.same(
    pauses,
    [2, 4, 8, 16, 20, 20, 20].map(times => times * firstMs),
  )
})

void t.test(
  'a device that fails again soon is tried later than before; others are not',
  async t => {
    const { mended, results, pauses, watch } = tryOut(t)
    const fails = async (devid: number): Promise<number[]> => {
      const [before, times] = [pauses.length, mended.length]
      results.push(false)
      watch(devid)
      await until('it is mended', () => mended.length > times)
      return pauses.slice(before).map(ms => ms / firstMs)
    }
    t.same(await fails(1), [2])
    t.same(await fails(1), [8], 'twice the last pause, and twice that again')
    t.same(await fails(1), [20])
    t.same(await fails(2), [2])
  },
)

void t.test('each device is tested by itself, and none after the end', async t => {
  const tests: number[] = []
  const mended: number[] = []
  let answer = (): void => {}
  const recovery = createRecovery({
    firstMs,
    test: devid => {
      tests.push(devid)
      return devid === 1 ? new Promise(resolve => (answer = resolve)) : Promise.resolve()
    },
    onMended: devid => mended.push(devid),
    log: {} as Logger,
  })
  recovery.watch(1)
  await until('the first is tested', () => tests.length > 0)
  recovery.watch(2)
  await until('the second is mended', () => mended.length > 0)
  const closing = recovery.close()
  answer()
  await closing
  recovery.watch(3)
  t.same(tests, [1, 2, 2, 2])
  t.same(mended, [2])
})
