/**
 * How fast missing copies are made. The work cannot be done over and over: every round gets files of its
 * own, and only the time from the cause to the last copy counts.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../helpers/until.ts'
import type { System } from '../helpers/up.ts'
import { inParallel, median, type Outcome, type Timed } from './harness.ts'
import { writeFlushed } from './puts.ts'
import type { Bench } from './system.ts'

const domain = 'photos'
const megabyte = 1e6
/** How long a round may take. */
const patienceMs = 600_000

async function isDone({ client }: System): Promise<boolean> {
  const { queues, healing } = await client.api.status()
  return queues.replicate.waiting === 0 && healing.secondsToSafe === 0
}

/** Seconds until every file has its copies. */
async function secondsUntilDone(system: System): Promise<number> {
  const startedAt = performance.now()
  await until('every file has its copies', () => isDone(system), patienceMs)
  return (performance.now() - startedAt) / 1000
}

async function putMany(
  { client }: System,
  { count, body, name }: { count: number; body: Buffer; name: string },
  durability: 'fast' | 'safe',
): Promise<void> {
  await inParallel(count, 16, async i => {
    await client.put(`${name}/${i}`, body, { class: name, durability })
  })
}

/** The bytes of so many copies, written bare to the same disk by one program; copies a second. */
async function bareRate(
  dir: string,
  { count, body }: { count: number; body: Buffer },
): Promise<number> {
  await mkdir(dir)
  const startedAt = performance.now()
  await inParallel(count, 16, () => writeFlushed(dir, body))
  return count / ((performance.now() - startedAt) / 1000)
}

function outcomeOf(
  rounds: readonly { readonly subject: number; readonly baseline: number }[],
  unitsPerFile: number,
): Outcome {
  return {
    subject: median(rounds.map(({ subject }) => subject)) * unitsPerFile,
    baseline: median(rounds.map(({ baseline }) => baseline)) * unitsPerFile,
    ratio: median(rounds.map(({ subject, baseline }) => subject / baseline)),
    p99: Number.NaN,
  }
}

interface Load {
  readonly count: number
  readonly bytes: number
  readonly unit: 'files' | 'MB'
}

function secondCopies({ count, bytes, unit }: Load): Timed<Bench> {
  return {
    name: `second copies of ${count} × ${bytes / 1024} KiB`,
    unit,
    concurrency: 1,
    against: 'as many files written, flushed, renamed',
    async time(bench, rounds) {
      const system = await bench.system()
      const body = Buffer.alloc(bytes, 'omgfiles')
      const results: { subject: number; baseline: number }[] = []
      for (let round = 0; round < rounds; round++) {
        const name = `copies-${bytes}-${round}`
        await system.client.api.createClass(domain, { name, mindevcount: 1 })
        await putMany(system, { count, body, name }, 'fast')
        await until('all is quiet', () => isDone(system), patienceMs)
        await system.client.api.changeClass({ domain, name }, { mindevcount: 2 })
        const subject = count / (await secondsUntilDone(system))
        const baseline = await bareRate(join(bench.dir, name), { count, body })
        results.push({ subject, baseline })
      }
      return outcomeOf(results, unit === 'MB' ? bytes / megabyte : 1)
    },
  }
}

/** A host of two disks goes for good; what counts begins when it is treated as lost. */
function lostHost(count: number): Timed<Bench> {
  return {
    name: `a lost host, ${count} files of 4 KiB`,
    unit: 'files',
    concurrency: 1,
    against: 'as many files written, flushed, renamed',
    async time(bench) {
      const system = await bench.system()
      const { api } = system.client
      const body = Buffer.alloc(4096, 'omgfiles')
      const name = 'lost'
      await api.createClass(domain, { name, mindevcount: 2 })
      // A third of all copies is on each of three hosts.
      await putMany(system, { count: Math.ceil((count * 3) / 2), body, name }, 'safe')
      await until('all is quiet', () => isDone(system), patienceMs)
      await api.putSetting('lost_after', '1')
      const pid = Object.entries(system.ready.pids).find(([one]) => one.startsWith('storage'))?.[1]
      if (pid === undefined) throw new Error('no storage node to kill')
      process.kill(pid, 'SIGKILL')
      const before = await until(
        'it is lost',
        async () => {
          const { healing } = await api.status()
          return healing.lost.length > 0 && performance.now()
        },
        patienceMs,
      )
      await until('every file has its copies', () => isDone(system), patienceMs)
      const subject = count / ((performance.now() - before) / 1000)
      await api.putSetting('lost_after', '900')
      system.process.kill('SIGUSR2')
      const baseline = await bareRate(join(bench.dir, 'lost'), { count, body })
      return outcomeOf([{ subject, baseline }], 1)
    },
  }
}

/** Copies made because a class asks for more, and because a host is lost. */
export const replicationBenchmarks: Timed<Bench>[] = [
  secondCopies({ count: 5000, bytes: 4096, unit: 'files' }),
  secondCopies({ count: 100, bytes: 8 * 1024 * 1024, unit: 'MB' }),
  lostHost(5000),
]
