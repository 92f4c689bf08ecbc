import { once } from 'node:events'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { createJobs, type JobsOptions } from '../../../tracker/workers/jobs.ts'
import type { Worker } from '../../../tracker/workers/loop.ts'
import { until } from '../../helpers/until.ts'

function start(t: Test, options: Partial<JobsOptions> = {}) {
  const logged: string[] = []
  const log = pino({}, { write: line => logged.push((JSON.parse(line) as { msg: string }).msg) })
  const jobs = createJobs({ log, jobMaster: true, onQueryWorkers() {}, ...options })
  t.teardown(() => jobs.close())
  jobs.begin()
  const stateOf = (name: string) => jobs.list().find(job => job.name === name)!
  return { jobs, logged, stateOf }
}

/** A worker that rests for ever once it has looked, and counts how often it did. */
function looker(name: string): Worker & { passes: number } {
  return {
    name,
    restMs: 1_000_000,
    passes: 0,
    pass() {
      this.passes++
      return Promise.resolve(0)
    },
  }
}

t.test('a job has a number of its own before anybody does it', async t => {
  const { jobs, stateOf } = start(t)
  t.match(stateOf('reaper'), { count: 0, desired: 1 })
  jobs.want('reaper', 2)
  t.match(stateOf('reaper'), { count: 0, desired: 2 })
  t.equal(jobs.tell('reaper', ':shutdown'), 0)
  jobs.add(looker('reaper'))
  t.match(stateOf('reaper'), { count: 2, desired: 2 })
  t.equal(jobs.tell('reaper', ':wake_up'), 2)
  t.equal(jobs.want('expire', 1), false)
})

t.test('what is no job runs all the same, and nobody can stop it', async t => {
  const { jobs } = start(t, { jobMaster: false })
  const expire = looker('expire')
  const fsck = looker('fsck')
  jobs.add(expire)
  jobs.add(fsck)
  await until('it looked', () => expire.passes > 0)
  t.equal(jobs.tell('expire', ':shutdown'), 0)
  t.notOk(jobs.list().some(({ name }) => (name as string) === 'expire'))
  jobs.wake('expire')
  await until('it looked again', () => expire.passes > 1)
  t.equal(fsck.passes, 0, 'without a job master')
  jobs.want('job_master', 1)
  await until('fsck begins', () => fsck.passes > 0)
})

t.test('the job master wakes all who wait for work', async t => {
  const { jobs } = start(t)
  const workers = ['delete', 'fsck', 'replicate', 'reaper'].map(looker)
  for (const worker of workers) jobs.add(worker)
  await until('all looked', () => workers.every(({ passes }) => passes > 0))
  jobs.tell('job_master', ':wake_up')
  await until('all looked again', () => workers.slice(0, 3).every(({ passes }) => passes > 1))
  jobs.tell('reaper', 'anything')
  t.equal(workers[3]?.passes, 1)
})

t.test('a stop lets the pass under way end; another may begin meanwhile', async t => {
  const { jobs, stateOf, logged } = start(t)
  const ends: (() => void)[] = []
  jobs.add({
    name: 'replicate',
    restMs: 1_000_000,
    pass: () => new Promise(resolve => ends.push(() => resolve(7))),
  })
  await until('it works', () => ends.length === 1)
  jobs.want('replicate', 0)
  t.match(stateOf('replicate'), { count: 1, desired: 0, sent: 0 }, 'it goes on')
  jobs.want('replicate', 1)
  await until('another works', () => ends.length === 2)
  ends[0]!()
  await until('the first is gone', () => stateOf('replicate').count === 1)
  t.equal(stateOf('replicate').sent, 7)
  t.strictSame(logged, [
    'Job replicate has only 0, wants 1, making 1.',
    `Child ${process.pid} (replicate) died: 0 (expected)`,
  ])
  ends[1]!()
})

t.test('one that is told to go is replaced, and close cuts all off', async t => {
  const { jobs, stateOf, logged } = start(t)
  let passes = 0
  jobs.add({
    name: 'delete',
    restMs: 1_000_000,
    async pass(signal) {
      if (passes++ > 0) await once(signal, 'abort')
      return 0
    },
  })
  await until('it looked', () => passes === 1)
  t.equal(jobs.tell('delete', ':shutdown'), 1)
  await until('another took its place', () => passes === 2)
  t.match(stateOf('delete'), { count: 1, desired: 1 })
  t.strictSame(logged, [
    `Child ${process.pid} (delete) died: 0 (UNEXPECTED)`,
    'Job delete has only 0, wants 1, making 1.',
  ])
  await jobs.close()
  jobs.add(looker('reaper'))
  t.equal(stateOf('delete').count, 0)
  t.equal(stateOf('reaper').count, 0)
})

t.test('the number of query workers is told at once and at every change', async t => {
  const told: number[] = []
  const { jobs } = start(t, { onQueryWorkers: count => told.push(count) })
  t.strictSame(told, [0, 20])
  jobs.want('queryworker', 0)
  await until('none is left', () => told.at(-1) === 0)
  jobs.want('queryworker', 3)
  t.equal(told.at(-1), 3)
  jobs.tell('queryworker', ':shutdown')
  const before = told.length
  await until('all were replaced', () => told.length > before + 2)
  t.equal(told.at(-1), 3)
})
