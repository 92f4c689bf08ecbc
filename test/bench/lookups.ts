import pg from 'pg'
import type { Benchmark, Pair, Work } from './harness.ts'
import type { Bench } from './system.ts'
import { connectWire } from './wire.ts'

const concurrency = 16
const files = 1000
const unit = 'lookups'
const against = 'prepared select, bare pg pool'

const keyOf = (i: number): string => `lookup/${i}`
const randomKey = (): string => keyOf(Math.floor(Math.random() * files))

/** Lookups over both fronts, against the bare query on the same rows. */
export const lookupBenchmarks: Benchmark<Bench>[] = [
  {
    name: 'lookup, line protocol get_paths',
    unit,
    concurrency,
    against,
    async prepare(bench) {
      const { ready } = await bench.system()
      const wires = await Promise.all(
        Array.from({ length: concurrency }, () => connectWire(ready.wire)),
      )
      bench.atEnd(async () => wires.forEach(wire => wire.close()))
      return withFiles(bench, async () => {
        const wire = wires.pop()!
        const answer = await wire.ask(`get_paths domain=photos&key=${randomKey()}&noverify=1`)
        wires.push(wire)
        if (!answer.startsWith('OK paths=')) throw new Error(answer)
        return 1
      })
    },
  },
  {
    name: 'lookup, SDK locate over HTTP',
    unit,
    concurrency,
    against,
    async prepare(bench) {
      const { client } = await bench.system()
      return withFiles(bench, async () => {
        await client.locate(randomKey())
        return 1
      })
    },
  },
]

async function withFiles(bench: Bench, subject: Work): Promise<Pair> {
  const { client } = await bench.system()
  if (!(await client.exists(keyOf(files - 1)))) {
    for (let i = 0; i < files; i += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, j) => client.put(keyOf(i + j), 'x')))
    }
  }
  const pool = new pg.Pool({ connectionString: bench.databaseUrl, max: concurrency })
  bench.atEnd(() => pool.end())
  return {
    subject,
    async baseline() {
      const { rowCount } = await pool.query({
        name: 'lookup',
        text: `
          select fid, size, devids from file
          where key = $1 and domain_id = (select id from domain where name = $2)`,
        values: [Buffer.from(randomKey()), 'photos'],
      })
      if (rowCount !== 1) throw new Error('the file is not there')
      return 1
    },
  }
}
