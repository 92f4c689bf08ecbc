import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Benchmark, Pair, Work } from '../harness.ts'
import type { Bench } from '../system.ts'
import { connectWire, type WireClient } from '../wire.ts'
import { startStatements, type Statements } from './mogilefs.ts'
import { domain, keyOf, oneCopy, startTracker, type BenchTracker } from './tracker.ts'

const few = 10_000
const many = 1_000_000
const connections = 64
const against = "MogileFS's statements, bare pool"

interface Rig {
  readonly tracker: BenchTracker
  readonly original: Statements
}

const startRig = async (bench: Bench): Promise<Rig> => {
  const tracker = await startTracker(bench, { files: few, connections })
  return { tracker, original: await startStatements(tracker.databaseUrl, few, bench.atEnd) }
}

/** A key that is looked up; the first ones are renamed to and fro. */
const anyKey = (files: number): string =>
  keyOf(connections + Math.floor(Math.random() * (files - connections)))

/** Sends a line on a free connection; throws on any answer but `OK`. */
const ask = (tracker: BenchTracker, line: string): Promise<string> =>
  tracker.lane(wire => demand(wire, line))

const demand = async (wire: WireClient, line: string): Promise<string> => {
  const answer = await wire.ask(line)
  if (!answer.startsWith('OK ')) throw new Error(`${line}: ${answer}`)
  return answer
}

const counted =
  (work: () => Promise<unknown>): Work =>
  async () => {
    await work()
    return 1
  }

const getPaths = (tracker: BenchTracker, files: number): Work =>
  counted(() => ask(tracker, `get_paths domain=${domain}&key=${anyKey(files)}&noverify=1`))

interface CommandBenchmark {
  readonly name: string
  readonly unit: string
  readonly lanes?: number
  readonly against?: string
  readonly prepare: (rig: Rig, bench: Bench) => Pair | Promise<Pair>
}

const commands: CommandBenchmark[] = [
  {
    name: 'wire get_paths',
    unit: 'lookups',
    prepare: ({ tracker, original }) => ({
      subject: getPaths(tracker, few),
      baseline: counted(() => original.getPaths(anyKey(few))),
    }),
  },
  {
    name: 'wire get_paths, one connection',
    unit: 'lookups',
    lanes: 1,
    prepare: ({ tracker, original }) => ({
      subject: getPaths(tracker, few),
      baseline: counted(() => original.getPaths(anyKey(few))),
    }),
  },
  {
    name: 'wire file_info',
    unit: 'lookups',
    prepare: ({ tracker, original }) => ({
      subject: counted(() => ask(tracker, `file_info domain=${domain}&key=${anyKey(few)}`)),
      baseline: counted(() => original.fileInfo(anyKey(few))),
    }),
  },
  {
    name: 'wire list_keys of 1000',
    unit: 'lists',
    lanes: 16,
    prepare({ tracker, original }) {
      const after = (): string => anyKey(few - 1000)
      return {
        subject: counted(() =>
          ask(tracker, `list_keys domain=${domain}&prefix=files/&after=${after()}&limit=1000`),
        ),
        baseline: counted(() => original.listKeys(after())),
      }
    },
  },
  {
    name: 'wire create_open',
    unit: 'opens',
    prepare: ({ tracker, original }) => ({
      subject: counted(() => ask(tracker, `create_open domain=${domain}&class=${oneCopy}&key=`)),
      baseline: counted(() => original.createOpen()),
    }),
  },
  {
    name: 'wire create_open and create_close',
    unit: 'pairs',
    prepare({ tracker, original }) {
      let n = 0
      const put = async (wire: WireClient): Promise<void> => {
        const opened = await demand(wire, `create_open domain=${domain}&class=${oneCopy}&key=`)
        const given = opened.slice('OK '.length)
        await demand(wire, `create_close domain=${domain}&key=put/${n++}&size=1&${given}`)
      }
      return {
        subject: counted(() => tracker.lane(put)),
        baseline: counted(() => original.createOpenAndClose(`put/${n++}`)),
      }
    },
  },
  {
    name: 'wire rename',
    unit: 'renames',
    prepare({ tracker, original }) {
      const ours = new Moves()
      const theirs = new Moves()
      return {
        subject: counted(() =>
          ours.next((from, to) =>
            ask(tracker, `rename domain=${domain}&from_key=${from}&to_key=${to}`),
          ),
        ),
        baseline: counted(() => theirs.next((from, to) => original.rename(from, to))),
      }
    },
  },
  {
    name: 'wire noop',
    unit: 'requests',
    lanes: 16,
    against: 'a bare line echo',
    prepare: async ({ tracker }, bench) => ({
      subject: counted(() => ask(tracker, 'noop')),
      baseline: await startEcho(bench),
    }),
  },
]

/** Renames key after key, each to a name of its own and back the next time. */
class Moves {
  readonly #free = Array.from({ length: connections }, (_, i): readonly [string, string] => [
    keyOf(i),
    `moved/${i}`,
  ])

  async next(move: (from: string, to: string) => Promise<unknown>): Promise<void> {
    const names = this.#free.pop()
    if (!names) throw new Error('more moves at once than names')
    await move(...names)
    this.#free.unshift([names[1], names[0]])
  }
}

/** The line protocol's commands on 10,000 files. */
export const commandBenchmarks: Benchmark<Bench>[] = [
  ...commands.map(({ lanes, prepare, ...benchmark }) => ({
    against,
    ...benchmark,
    concurrency: lanes ?? connections,
    async prepare(bench: Bench): Promise<Pair> {
      return prepare(await startRig(bench), bench)
    },
  })),
  {
    name: 'wire delete',
    unit: 'deletes',
    concurrency: connections,
    against,
    async prepare(bench) {
      // Of its own, since it takes the files away.
      const files = 300_000
      const tracker = await startTracker(bench, { files, connections })
      const original = await startStatements(tracker.databaseUrl, files, bench.atEnd)
      let ours = 0
      let theirs = 0
      return {
        subject: counted(() => ask(tracker, `delete domain=${domain}&key=${keyOf(ours++)}`)),
        baseline: counted(() => original.remove(keyOf(theirs++))),
      }
    },
  },
  {
    name: 'wire get_paths, 1 M files',
    unit: 'lookups',
    concurrency: connections,
    against: 'the same with 10 k files',
    async prepare(bench) {
      const { tracker: small } = await startRig(bench)
      const large = await startTracker(bench, { files: many, connections })
      return { subject: getPaths(large, many), baseline: getPaths(small, few) }
    },
  },
  {
    name: 'wire get_paths, signed URLs',
    unit: 'lookups',
    concurrency: connections,
    against: 'the same with plain URLs',
    async prepare(bench) {
      const { tracker: plain } = await startRig(bench)
      const signed = await startTracker(bench, { files: few, connections, signed: true })
      return { subject: getPaths(signed, few), baseline: getPaths(plain, few) }
    },
  },
]

async function startEcho({ atEnd }: Bench): Promise<Work> {
  const child = fork(fileURLToPath(new URL('line-echo.js', import.meta.url)))
  const [port] = (await once(child, 'message')) as [number]
  const wires = await Promise.all(
    Array.from({ length: connections }, () => connectWire(`127.0.0.1:${port}`)),
  )
  atEnd(async () => {
    wires.forEach(wire => wire.close())
    child.disconnect()
  })
  return counted(async () => {
    const wire = wires.pop()!
    await wire.ask('noop')
    wires.push(wire)
  })
}
