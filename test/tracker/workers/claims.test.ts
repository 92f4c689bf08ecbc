import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDeleteWorker } from '../../../tracker/workers/delete.ts'
import { createFsckWorker } from '../../../tracker/workers/fsck.ts'
import { whileClaimed } from '../../../tracker/workers/loop.ts'
import { createRebalanceWorker } from '../../../tracker/workers/rebalance.ts'
import { createReplicateWorker } from '../../../tracker/workers/replicate.ts'
import { createScrubWorker } from '../../../tracker/workers/scrub.ts'
import { createSweepWorker } from '../../../tracker/workers/sweep.ts'
import { until } from '../../helpers/until.ts'
import { jobs, log, trackerOn } from './tracker-on.ts'

const { signal } = new AbortController()
const host = { id: 1, status: 'alive', observed: 'reachable' }

t.test('what a tracker that dies has claimed falls due again within two minutes', async t => {
  for (const [create, claim] of [
    [createReplicateWorker, 'jobs.claim_replications'],
    [createDeleteWorker, 'deletions.claim'],
    [createRebalanceWorker, 'rebalance.claim_moves'],
    [createFsckWorker, 'checks.claim'],
    [createScrubWorker, 'scrub.claim'],
    [createSweepWorker, 'sweep.claim'],
  ] as const) {
    const seconds: unknown[] = []
    const ctx = trackerOn((statement, values) => {
      if (statement === claim) seconds.push(...values.filter(value => typeof value === 'number'))
      return /\.due/.test(statement) ? jobs(1) : []
    })
    await create(ctx).pass(signal, log)
    t.strictSame(seconds, [120], claim)
  }
})

t.test('a claim is extended until the work is over, and not a moment longer', async t => {
  let extended = 0
  let underWay = 0
  const extend = async (): Promise<void> => {
    underWay++
    await sleep(20)
    underWay--
    if (++extended === 1) throw new Error('the database is away')
  }
  const work = async (): Promise<string> => {
    await until('it was extended three times', async () => extended >= 3)
    await until('it is just being extended', async () => underWay === 1)
    return 'done'
  }
  t.equal(await whileClaimed(work, { leaseSeconds: 0.15, extend, log }), 'done')
  t.equal(underWay, 0)
  const before = extended
  await t.rejects(
    whileClaimed(() => Promise.reject(new Error('broken')), { leaseSeconds: 0.15, extend, log }),
    { message: 'broken' },
  )
  await sleep(100)
  t.equal(extended, before)
})

t.test('bytes that nobody owns are old by the clock of the database, or not at all', async t => {
  const hour = 3600
  const now = Date.now() / 1000 - 48 * hour
  for (const [age, clockSkewed, removed] of [
    [23 * hour, false, false],
    [25 * hour, false, true],
    [25 * hour, true, false],
  ] as const) {
    const told: string[] = []
    const answer = (statement: string): object[] => {
      told.push(statement)
      if (statement === 'observations.now') return [{ now }]
      if (statement === 'sweep.list_unclaimed') return [{ fid: 5, slot: null }]
      if (statement !== 'sweep.claim') return []
      return [{ devid: 1, position: 0, finished: true, lastFiles: 1, lastExtra: 1 }]
    }
    const device = { devid: 1, clockSkewed, observed: 'readable', status: 'alive', host }
    const ctx = trackerOn(answer, {
      storage: {
        async *inventory() {
          yield { fid: 5, size: 1, mtime: now - age }
        },
      },
      urls: { object: () => 'http://node/' },
    })
    Object.assign(ctx.cluster, { device: () => device })
    Object.assign(ctx.cluster.snapshot, { hosts: new Map([[host.id, host]]) })
    await createSweepWorker(ctx).pass(signal, log)
    t.ok(told.includes('sweep.finish'))
    t.equal(told.includes('jobs.insert_deletion'), removed, `${age / hour} h, skew: ${clockSkewed}`)
  }
})

t.test('however many files a device has lost, one comparison finds all of them', async t => {
  const count = 45_000
  const there = new Set([1, 19_999, 20_000, 20_001, 44_000, count])
  const row = { devid: 1, position: 0, files: 0, extra: 0 }
  const checked: number[] = []
  let ended = false
  const ctx = trackerOn(
    (statement, values) => {
      if (statement === 'sweep.claim') return ended ? [] : [row]
      if (statement === 'sweep.finish') ended = true
      if (statement === 'sweep.advance') Object.assign(row, { position: values[1] })
      if (statement === 'checks.queue_whole') checked.push(...(values[0] as number[]))
      if (statement !== 'checks.list_contents_after') return []
      const [after, end, , , , limit] = values as number[]
      const length = Math.min(limit!, Math.min(count, end!) - after!)
      return Array.from({ length }, (_, i) => ({ fid: after! + 1 + i, size: 1 }))
    },
    {
      storage: {
        async *inventory(_: string, { after = 0 }: { after?: number }) {
          for (const fid of there) if (fid > after) yield { fid, size: 1, mtime: 0 }
        },
      },
      urls: { object: () => 'http://node/' },
    },
  )
  const device = { devid: 1, observed: 'readable', status: 'alive', host }
  Object.assign(ctx.cluster, { device: () => device })
  Object.assign(ctx.cluster.snapshot, { hosts: new Map([[host.id, host]]) })
  const sweep = createSweepWorker(ctx)
  for (let steps = 0; !ended && steps < 10; steps++) await sweep.pass(signal, log)
  t.ok(ended)
  t.equal(checked.length, count - there.size, 'each once')
  t.notOk(checked.some(fid => there.has(fid)))
})
