import t from 'tap'
import { createRebalanceWorker } from '../../../tracker/workers/rebalance.ts'
import { createReplicateWorker } from '../../../tracker/workers/replicate.ts'
import { jobs, log, trackerOn } from './tracker-on.ts'

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
