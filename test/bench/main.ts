/**
 * `npm run bench`: the speed of the whole system, each figure as a ratio to a baseline measured in
 * the same run. Words on the command line choose benchmarks by name; `--seconds N` sets the length
 * of a round, `--rounds N` how many.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createLogger } from '../../common/log.ts'
import { startPostgres } from '../../deploy/postgres.ts'
import { until } from '../helpers/until.ts'
import { startUp, type System } from '../helpers/up.ts'
import { getBenchmarks } from './gets.ts'
import { compare, formatRow } from './harness.ts'
import { lookupBenchmarks } from './lookups.ts'
import { nodeBenchmarks } from './nodes.ts'
import { putBenchmarks } from './puts.ts'
import { reproxyBenchmarks } from './reproxy.ts'
import { replicationBenchmarks } from './replication.ts'
import { sdkBenchmarks } from './sdk.ts'
import type { Bench } from './system.ts'
import { commandBenchmarks } from './tracker/commands.ts'

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
  },
  allowPositionals: true,
})
/** What to close, the last one first. */
class Closing {
  readonly #all: (() => Promise<unknown>)[] = []

  readonly add = (close: () => Promise<unknown>): void => {
    this.#all.unshift(close)
  }

  async close(): Promise<void> {
    for (const close of this.#all.splice(0)) await close()
  }
}

const all = new Closing()
const atEnd = all.add
// On the disk of the checkout, not on a tmpfs.
await mkdir('data', { recursive: true })
const dir = await mkdtemp(join(resolve('data'), 'bench-'))
atEnd(() => rm(dir, { recursive: true, force: true }))
try {
  const log = createLogger('bench', { level: 'error', fd: 2 })
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), log })
  atEnd(() => postgres.close())
  let starting: Promise<System> | undefined
  const bench: Bench = {
    system() {
      starting ??= startUp(
        { teardown: close => atEnd(async () => close()) },
        {
          data: join(dir, 'system'),
          args: ['--separate', '--log-level', 'error', '--database-url', postgres.url],
        },
      )
      return starting
    },
    databaseUrl: postgres.url,
    dir,
    atEnd,
  }
  const chosen = [
    ...lookupBenchmarks,
    ...commandBenchmarks,
    ...putBenchmarks,
    ...getBenchmarks,
    ...sdkBenchmarks,
    ...nodeBenchmarks,
    ...reproxyBenchmarks,
  ].filter(({ name }) => positionals.every(word => name.toLowerCase().includes(word.toLowerCase())))
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim()})`)
  for (const benchmark of chosen) {
    // What one leaves behind must not keep the machine busy under the next.
    const own = new Closing()
    try {
      const pair = await benchmark.prepare({ ...bench, atEnd: own.add })
      await starting?.then(queuesAreEmpty)
      const outcome = await compare(pair, {
        concurrency: benchmark.concurrency,
        rounds: Number(values.rounds),
        seconds: Number(values.seconds),
      })
      console.log(formatRow(benchmark, outcome))
    } finally {
      await own.close()
    }
  }
  const timed = replicationBenchmarks.filter(({ name }) =>
    positionals.every(word => name.toLowerCase().includes(word.toLowerCase())),
  )
  for (const benchmark of timed) {
    await starting?.then(queuesAreEmpty)
    console.log(formatRow(benchmark, await benchmark.time(bench, Number(values.rounds))))
  }
} finally {
  await all.close()
}

async function queuesAreEmpty({ client }: System): Promise<void> {
  await until('the queues are empty', async () => {
    const { queues } = await client.api.status()
    return queues.replicate.waiting + queues.delete.waiting === 0
  })
}
