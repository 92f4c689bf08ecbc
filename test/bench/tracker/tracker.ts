/** A tracker process on a database of its own, with storage nodes that cost nothing. */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import type { ReadyMessage } from '../../../common/daemon.ts'
import { until } from '../../helpers/until.ts'
import { fileKey } from '../../../tracker/store/files.ts'
import type { Bench } from '../system.ts'
import { connectWire, type WireClient } from '../wire.ts'
import { startStubNode, stubSize } from './stub-node.ts'

const main = fileURLToPath(new URL('../../../tracker/main.js', import.meta.url))

export interface BenchTracker {
  readonly databaseUrl: string
  /** Takes a connection for one request after the other; as many as are asked for at once. */
  readonly lane: <T>(work: (wire: WireClient) => Promise<T>) => Promise<T>
  readonly pid: number
}

/** Domain and class of all files. A class of one copy: nothing is replicated meanwhile. */
export const domain = 'bench'
export const oneCopy = 'one'

/** Key number `i`, as on the wire. */
export const keyOf = (i: number): string => `files/${String(i).padStart(8, '0')}`

const hosts = 3

/**
 * Starts it with `files` files of two replicas, called by `keyOf`, in place. Plain URLs, as MogileFS
 * hands them out, unless `signed`.
 */
export async function startTracker(
  bench: Pick<Bench, 'databaseUrl' | 'atEnd'>,
  { files, connections, signed = false }: { files: number; connections: number; signed?: boolean },
): Promise<BenchTracker> {
  const databaseUrl = await createDatabase(bench)
  const nodes = await Promise.all(Array.from({ length: hosts }, startStubNode))
  nodes.forEach(node => bench.atEnd(node.close))
  const child = fork(main, [], {
    env: {
      ...process.env,
      DATABASE_URL: databaseUrl,
      OMG_TRACKER_HTTP_LISTEN: '127.0.0.1:0',
      OMG_TRACKER_WIRE_LISTEN: '127.0.0.1:0',
      OMG_TRACKER_SECRET: randomBytes(32).toString('hex'),
      OMG_TRACKER_OPEN: String(!signed),
      OMG_TRACKER_LOG_LEVEL: 'error',
    },
  })
  const ended = once(child, 'exit')
  bench.atEnd(async () => {
    child.kill()
    await ended
  })
  const [ready] = (await once(child, 'message')) as [ReadyMessage]
  const wires = await Promise.all(
    Array.from({ length: connections }, () => connectWire(ready.listening['wire'] ?? '')),
  )
  bench.atEnd(async () => wires.forEach(wire => wire.close()))
  const [admin] = wires
  if (!admin) throw new Error('no connections wanted')
  const demand = async (line: string): Promise<string> => {
    const answer = await admin.ask(line)
    if (!answer.startsWith('OK ')) throw new Error(`${line}: ${answer}`)
    return answer
  }
  await demand(`create_domain domain=${domain}`)
  await demand(`create_class domain=${domain}&class=${oneCopy}&mindevcount=1`)
  for (const [i, { port }] of nodes.entries()) {
    await demand(`create_host host=stub${i + 1}&ip=127.0.0.1&port=${port}&status=alive`)
    await demand(`create_device hostname=stub${i + 1}&devid=${i + 1}`)
  }
  await fill(databaseUrl, files)
  await until('the devices are writeable', async () =>
    (await demand(`create_open domain=${domain}&key=&multi_dest=1`)).includes(`dev_count=${hosts}`),
  )
  return {
    databaseUrl,
    pid: child.pid ?? 0,
    async lane(work) {
      const wire = wires.pop()
      if (!wire) throw new Error('more lanes than connections')
      const result = await work(wire)
      wires.push(wire)
      return result
    },
  }
}

async function createDatabase({ databaseUrl }: Pick<Bench, 'databaseUrl'>): Promise<string> {
  const name = `bench_${randomBytes(6).toString('hex')}`
  await execute(databaseUrl, `create database ${name}`)
  const url = new URL(databaseUrl)
  url.pathname = `/${name}`
  return url.href
}

/** Puts the rows in place as commits would have; the slot is CRC-32 of domain id and key, mod 4096. */
async function fill(databaseUrl: string, files: number): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })
  const { rows } = await pool.query<{ id: number }>('select id from domain where name = $1', [
    domain,
  ])
  const { id } = rows[0]!
  // Numbers in a row, as uploads get them: the scrub of a real cluster goes by them.
  const counter = await pool.query<{ first: string }>(
    'update fid_counter set next = next + $1 returning next - $1 as first',
    [files],
  )
  const first = Number(counter.rows[0]!.first)
  // The default class wants the two copies that each file has: nothing is to be done about them.
  const classId = 0
  const step = 20_000
  for (let from = 0; from < files; from += step) {
    const keys = Array.from({ length: Math.min(step, files - from) }, (_, i) => keyOf(from + i))
    await pool.query(
      `insert into file (fid, size, domain_id, class_id, slot, key, devids)
       select $1::bigint + at - 1, $2, $3, $4, slot, key,
         array[1 + at % ${hosts}, 1 + (at + 1) % ${hosts}]::int[]
       from unnest($5::bytea[], $6::smallint[]) with ordinality as wanted (key, slot, at)`,
      [
        first + from,
        stubSize,
        id,
        classId,
        keys.map(key => Buffer.from(key)),
        keys.map(key => fileKey(id, Buffer.from(key)).slot),
      ],
    )
  }
  await pool.query('vacuum analyze file')
  await pool.end()
}

async function execute(url: string, sql: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  await pool.query(sql)
  await pool.end()
}
