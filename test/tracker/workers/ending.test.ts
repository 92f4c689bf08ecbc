import t from 'tap'
import { createLogger } from '../../../common/log.ts'
import type { Context } from '../../../tracker/cluster/context.ts'
import { createRebalanceWorker } from '../../../tracker/workers/rebalance.ts'
import { createReplicateWorker } from '../../../tracker/workers/replicate.ts'

const log = createLogger('test', { level: 'silent', fd: 2 })

/** A tracker in whose database `answer` says what a statement returns. */
function trackerOn(answer: (statement: string) => object[]): Context {
  const db = {
    async query({ name = '' }) {
      const rows = answer(name)
      return { rows, rowCount: rows.length }
    },
  }
  const snapshot = { readAt: '', settings: new Map(), domainsById: new Map(), devices: new Map() }
  const cluster = { snapshot, devices: () => [], policies: new Map(), async refresh() {} }
  return { db, cluster, random: Math.random, log, wake() {} } as unknown as Context
}

const jobs = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({
    fid: i + 1,
    slot: 0,
    devid: 1,
    devids: [],
    lease: '',
  }))

t.test('moves that wait for their turn are not begun once the work is to end', async t => {
  const end = new AbortController()
  let begun = 0
  const worker = createRebalanceWorker(
    trackerOn(statement => {
      if (statement === 'rebalance.due_moves') return jobs(64)
      if (statement === 'rebalance.claim_moves') return jobs(64)
      if (statement === 'rebalance.extend_move') return [{ lease: '' }]
      if (statement === 'files.find_by_fid' && ++begun === 1) end.abort()
      return []
    }),
  )
  await worker.pass(end.signal, log)
  t.ok(begun >= 1 && begun <= 8, `${begun} moves were begun`)
})

t.test('replications that are claimed while the work ends are not begun', async t => {
  const end = new AbortController()
  const told: string[] = []
  const worker = createReplicateWorker(
    trackerOn(statement => {
      told.push(statement)
      if (statement === 'jobs.due_replications') return jobs(2)
      if (statement !== 'jobs.claim_replications') return []
      end.abort()
      return jobs(2)
    }),
  )
  t.equal(await worker.pass(end.signal, log), 0)
  t.equal(worker.queued, 0)
  await new Promise(resolve => setImmediate(resolve))
  t.notOk(told.includes('jobs.remove_replications'), 'they fall due again')
})
