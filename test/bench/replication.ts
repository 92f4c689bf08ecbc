/**
 * How fast copies are made, checked and removed. The work cannot be done over and over: every round
 * gets files of its own, and only the time from the cause to the last file counts. A last round, half
 * as large, has lookups beside it and tells how much of their rate they keep.
 */
import { lstat, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Pool } from 'pg'
import { until } from '../helpers/until.ts'
import type { System } from '../helpers/up.ts'
import { inParallel, median, type Outcome, type Timed } from './harness.ts'
import { writeFlushed } from './puts.ts'
import type { Bench } from './system.ts'
import { connectWire } from './wire.ts'

const domain = 'photos'
const megabyte = 1e6
/** How long a round may take. */
const patienceMs = 600_000
/** Connections that look files up, and for how long alone. */
const lookers = 16
const aloneMs = 3_000

/** What MogileFS-Server 2.73 did on two cores with the same load. */
const original = { smallCopies: 97, megabytes: 185, lost: 57, fsck: 725 } as const

interface Work {
  readonly name: string
  readonly unit: 'files' | 'MB'
  readonly against: string
  /** Rate of MogileFS, where it is known. */
  readonly original?: number
  /** Files of a round, and how much each of them counts. */
  readonly count: number
  readonly worth: number
  /** Only one round of it can be had. */
  readonly once?: boolean
  /** Puts everything in place for a round. */
  readonly prepare: (system: System, round: Round, pool: Pool) => Promise<Ready>
  /** The same by a bare program on the same disk; files a second. */
  readonly bare: (dir: string, count: number) => Promise<number>
}

interface Round {
  readonly name: string
  readonly count: number
}

interface Ready {
  /** Files that there are in fact. */
  readonly count: number
  /** What causes the work; its time counts from then on. */
  readonly begin: () => Promise<unknown>
  readonly isDone: () => Promise<boolean>
}

async function isQuiet({ client }: System): Promise<boolean> {
  const { queues, healing } = await client.api.status()
  return queues.replicate.waiting + queues.delete.waiting === 0 && healing.secondsToSafe === 0
}

async function isCopied({ client }: System): Promise<boolean> {
  const { queues, healing } = await client.api.status()
  return queues.replicate.waiting === 0 && healing.secondsToSafe === 0
}

async function putMany(
  { client }: System,
  { count, name }: Round,
  { body, durability }: { body: Buffer; durability: 'fast' | 'safe' },
): Promise<void> {
  await inParallel(count, 16, async i => {
    await client.put(`${name}/${i}`, body, { class: name, durability })
  })
}

interface Hands {
  readonly system: System
  /** The database of the system. */
  readonly pool: Pool
}

/** Runs a round; files a second. */
async function timeRound({ system, pool }: Hands, work: Work, round: Round): Promise<number> {
  const { count, begin, isDone } = await work.prepare(system, round, pool)
  await begin()
  const startedAt = performance.now()
  await until(`${work.name} is done`, isDone, patienceMs)
  return count / ((performance.now() - startedAt) / 1000)
}

/** The share of their rate that lookups keep while a round runs. */
async function lookupsKept({ system, pool }: Hands, work: Work, round: Round): Promise<number> {
  const { begin, isDone } = await work.prepare(system, round, pool)
  await system.client.put('looked-up', 'x')
  await until('all is quiet', () => isCopied(system), patienceMs)
  const wires = await Promise.all(
    Array.from({ length: lookers }, () => connectWire(system.ready.wire)),
  )
  let found = 0
  let looking = true
  const look = Promise.all(
    wires.map(async wire => {
      while (looking) {
        const answer = await wire.ask(`get_paths domain=${domain}&key=looked-up&noverify=1`)
        if (!answer.startsWith('OK paths=')) throw new Error(answer)
        found++
      }
      wire.close()
    }),
  )
  const rate = async (work: () => Promise<unknown>): Promise<number> => {
    const [before, startedAt] = [found, performance.now()]
    await work()
    return (found - before) / (performance.now() - startedAt)
  }
  const pause = (ms: number) => () => new Promise(resolve => setTimeout(resolve, ms))
  await pause(500)()
  const alone = await rate(pause(aloneMs))
  await begin()
  const beside = await rate(() => until(`${work.name} is done`, isDone, patienceMs))
  looking = false
  await look
  return beside / alone
}

const timed = (work: Work): Timed<Bench> => ({
  name: work.name,
  unit: work.unit,
  concurrency: 1,
  against: work.against,
  async time(bench, rounds): Promise<Outcome> {
    const hands = {
      system: await bench.system(),
      pool: new Pool({ connectionString: bench.databaseUrl }),
    }
    bench.atEnd(() => hands.pool.end())
    const results: { subject: number; baseline: number }[] = []
    const nameOf = (n: number): string => `${work.name.replaceAll(/[^a-z0-9]+/gi, '-')}-${n}`
    for (let n = 0; n < (work.once ? 1 : rounds); n++) {
      const round = { name: nameOf(n), count: work.count }
      const subject = await timeRound(hands, work, round)
      const dir = join(bench.dir, round.name)
      await mkdir(dir)
      results.push({ subject, baseline: await work.bare(dir, work.count) })
    }
    const shared = { name: nameOf(rounds), count: Math.ceil(work.count / 2) }
    const kept = await lookupsKept(hands, work, shared)
    const subject = median(results.map(one => one.subject)) * work.worth
    const times =
      work.original === undefined
        ? []
        : [
            `MogileFS ${work.original} ${work.unit}/s: ${(subject / work.original).toFixed(1)} times`,
          ]
    return {
      subject,
      baseline: median(results.map(({ baseline }) => baseline)) * work.worth,
      ratio: median(results.map(({ subject, baseline }) => subject / baseline)),
      p99: Number.NaN,
      note: [...times, `lookups beside it keep ${(kept * 100).toFixed(0)} %`].join('; '),
    }
  },
})

/** As many copies, written bare to the same disk. */
const bareWrites =
  (body: Buffer) =>
  async (dir: string, count: number): Promise<number> => {
    const startedAt = performance.now()
    await inParallel(count, 16, () => writeFlushed(dir, body))
    return count / ((performance.now() - startedAt) / 1000)
  }

/** As many files removed bare from the same disk, each name gone for good. */
async function bareRemovals(dir: string, count: number): Promise<number> {
  const nameOf = (i: number): string => join(dir, String(i))
  await inParallel(count, 16, async i => {
    await (await open(nameOf(i), 'wx')).close()
  })
  const startedAt = performance.now()
  await inParallel(count, 16, async i => {
    await unlink(nameOf(i))
    const directory = await open(dir, 'r')
    await directory.sync()
    await directory.close()
  })
  return count / ((performance.now() - startedAt) / 1000)
}

function secondCopies(
  { count, bytes }: { readonly count: number; readonly bytes: number },
  { unit, original }: Pick<Work, 'unit'> & { readonly original: number },
): Timed<Bench> {
  const body = Buffer.alloc(bytes, 'omgfiles')
  return timed({
    name: `second copies of ${count} × ${bytes / 1024} KiB`,
    unit,
    against: 'as many files written, flushed, renamed',
    original,
    count,
    worth: unit === 'MB' ? bytes / megabyte : 1,
    bare: bareWrites(body),
    async prepare(system, { name, count: files }) {
      const { api } = system.client
      await api.createClass(domain, { name, mindevcount: 1 })
      await putMany(system, { name, count: files }, { body, durability: 'fast' })
      await until('all is quiet', () => isQuiet(system), patienceMs)
      return {
        count: files,
        begin: () => api.changeClass({ domain, name }, { mindevcount: 2 }),
        isDone: () => isCopied(system),
      }
    },
  })
}

/** A host of two disks goes for good; what counts begins when it is treated as lost. */
function lostHost(count: number): Timed<Bench> {
  const body = Buffer.alloc(4096, 'omgfiles')
  return timed({
    name: `a lost host, ${count} files of 4 KiB`,
    unit: 'files',
    against: 'as many files written, flushed, renamed',
    original: original.lost,
    count,
    worth: 1,
    once: true,
    bare: bareWrites(body),
    async prepare(system, { name }) {
      const { api } = system.client
      const isLost = async (): Promise<boolean> => (await api.status()).healing.lost.length > 0
      // It is back from the round before.
      await api.putSetting('lost_after', '900')
      system.process.kill('SIGUSR2')
      await until('nothing is lost', async () => !(await isLost()), patienceMs)
      await until('all is quiet', () => isQuiet(system), patienceMs)
      await api.createClass(domain, { name, mindevcount: 2 })
      // A third of all copies is on each of three hosts.
      await putMany(
        system,
        { name, count: Math.ceil((count * 3) / 2) },
        { body, durability: 'safe' },
      )
      await until('all is quiet', () => isQuiet(system), patienceMs)
      await api.putSetting('lost_after', '1')
      return {
        count,
        async begin() {
          killOne(system)
          await until('it is lost', isLost, patienceMs)
        },
        isDone: () => isCopied(system),
      }
    },
  })
}

/** Kills a storage node that was not killed before. */
function killOne({ ready }: System): void {
  for (const [name, pid] of Object.entries(ready.pids)) {
    if (!name.startsWith('storage')) continue
    try {
      process.kill(pid, 'SIGKILL')
      return
    } catch {
      // It was started again under another number.
    }
  }
  throw new Error('no storage node to kill')
}

/** The bytes of deleted files, both copies of each, when all of them are due at once. */
function deletions(count: number): Timed<Bench> {
  const body = Buffer.alloc(4096, 'omgfiles')
  return timed({
    name: `deletions of ${count} files`,
    unit: 'files',
    against: 'as many names removed, flushed',
    count,
    worth: 1,
    bare: bareRemovals,
    async prepare(system, { name, count: files }) {
      const { api } = system.client
      await api.putSetting('delete_grace_seconds', '0')
      await api.createClass(domain, { name, mindevcount: 2 })
      await putMany(system, { name, count: files }, { body, durability: 'safe' })
      await until('all is quiet', () => isQuiet(system), patienceMs)
      const wire = await connectWire(system.ready.wire)
      await wire.ask('!want 0 delete')
      await inParallel(files, 64, i => system.client.delete(`${name}/${i}`))
      const waiting = async (): Promise<number> => (await api.status()).queues.delete.waiting
      return {
        count: files,
        async begin() {
          await wire.ask('!want 1 delete')
          wire.close()
        },
        isDone: async () => (await waiting()) === 0,
      }
    },
  })
}

/** All files that there are, with every copy in order. */
function consistentFiles(least: number): Timed<Bench> {
  const body = Buffer.alloc(4096, 'omgfiles')
  return timed({
    name: 'fsck of files that are in order',
    unit: 'files',
    against: 'looking at two names each',
    original: original.fsck,
    count: least,
    worth: 1,
    bare: bareLooks,
    async prepare(system, { name }, pool) {
      const { api } = system.client
      const missing = least - (await api.status()).files
      if (missing > 0) {
        await api.createClass(domain, { name, mindevcount: 2 })
        await putMany(system, { name, count: missing }, { body, durability: 'safe' })
      }
      await until('all is quiet', () => isQuiet(system), patienceMs)
      return {
        count: (await api.status()).files,
        async begin() {
          await api.resetFsck({})
          await api.startFsck()
        },
        async isDone() {
          if ((await api.fsckStatus()).running) return false
          const { rows } = await pool.query('select from check_job limit 1')
          return rows.length === 0
        },
      }
    },
  })
}

/** As many pairs of names looked at bare. */
async function bareLooks(dir: string, count: number): Promise<number> {
  const name = join(dir, 'file')
  await (await open(name, 'w')).close()
  const startedAt = performance.now()
  await inParallel(count, 16, async () => {
    await Promise.all([lstat(name), lstat(name)])
  })
  return count / ((performance.now() - startedAt) / 1000)
}

/** Copies made because a class asks for more or a host is lost, checks, and removals. */
export const replicationBenchmarks: Timed<Bench>[] = [
  secondCopies({ count: 5000, bytes: 4096 }, { unit: 'files', original: original.smallCopies }),
  secondCopies(
    { count: 100, bytes: 8 * 1024 * 1024 },
    { unit: 'MB', original: original.megabytes },
  ),
  consistentFiles(20_000),
  deletions(5000),
  lostHost(5000),
]
