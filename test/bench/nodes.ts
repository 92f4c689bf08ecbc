import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { replicaPath } from '../../common/layout.ts'
import { freePort, perlbal, startPerlbalNode } from '../helpers/edges.ts'
import { startDaemon } from '../storage-node/daemon.ts'
import { noNginx, startNginx } from '../storage-node/nginx.ts'
import type { Benchmark } from './harness.ts'
import { connectMany } from './raw-http.ts'
import type { Bench } from './system.ts'

const gets: [kib: number, concurrency: number][] = [
  [4, 32],
  [64, 32],
  [1024, 16],
  [64 * 1024, 4],
]
const puts = [4, 64, 1024]
const putConcurrency = 16

const sizeName = (kib: number): string => (kib < 1024 ? `${kib} KiB` : `${kib / 1024} MiB`)
const suffix = (rival: Rival): string => (rival === 'nginx' ? '' : `, ${rival}`)
const pathOf = (fid: number): string => replicaPath({ devid: 1, fid })
const get = (fid: number): Buffer =>
  Buffer.from(`GET ${pathOf(fid)} HTTP/1.1\r\nHost: node\r\n\r\n`)
const put = (fid: number, body: Buffer): Buffer => {
  const head = `PUT ${pathOf(fid)} HTTP/1.1\r\nHost: node\r\nContent-Length: ${body.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), body])
}

/** A storage node of its own on `root`; returns its port. */
async function startNode({ atEnd }: Bench, root: string, args: string[]): Promise<number> {
  const teardown = (close: () => unknown): void => atEnd(async () => close())
  const settings = [...args, '--log-level', 'error', '--side-listen', 'off']
  return (await startDaemon({ teardown }, root, { UV_THREADPOOL_SIZE: '16' }, settings)).port
}

type Rival = 'nginx' | 'Perlbal'

interface Connections {
  ask(request: Buffer): Promise<number>
}

/** A storage node and a rival, each with connections, on a root of their own or on the same. */
async function bothServers(
  bench: Bench,
  { rival, connections, apart }: { rival: Rival; connections: number; apart: boolean },
): Promise<{ ours: Connections; theirs: Connections }> {
  const dir = await mkdtemp(join(bench.dir, 'node-'))
  const roots = ['ours', apart ? rival : 'ours'].map(who => join(dir, who))
  for (const root of roots) await mkdir(join(root, 'dev1'), { recursive: true })
  const connected = async (port: number): Promise<Connections> => {
    const clients = await connectMany(port, connections)
    bench.atEnd(async () => clients.close())
    return clients
  }
  const ours = await connected(await startNode(bench, roots[0]!, ['--fsync', 'off']))
  const theirs = await connected(await startRival(bench, rival, { dir, root: roots[1]! }))
  return { ours, theirs }
}

async function startRival(
  { atEnd }: Bench,
  rival: Rival,
  { dir, root }: { dir: string; root: string },
): Promise<number> {
  if (rival === 'nginx') {
    const teardown = (close: () => unknown): void => atEnd(async () => close())
    return (await startNginx({ teardown }, root, [1])).port
  }
  const port = await freePort()
  await startPerlbalNode({ dir, port, atEnd }, root)
  return port
}

interface Case {
  readonly kib: number
  readonly concurrency: number
  readonly rival: Rival
}

const putCases = (rival: Rival): Case[] =>
  puts.map(kib => ({ kib, concurrency: putConcurrency, rival }))

const againstNginx =
  noNginx === false
    ? [
        ...gets.map(([kib, concurrency]) => getBenchmark({ kib, concurrency, rival: 'nginx' })),
        ...putCases('nginx').map(each => putBenchmark(each)),
      ]
    : []

const againstPerlbal =
  perlbal === undefined
    ? []
    : [
        // First, since ext4 makes files slowly for minutes after many were removed.
        putBenchmark({ kib: 4, concurrency: putConcurrency, rival: 'Perlbal' }, true),
        ...[4, 64].map(kib => getBenchmark({ kib, concurrency: 32, rival: 'Perlbal' })),
        ...putCases('Perlbal').map(each => putBenchmark(each)),
      ]

/** The storage node alone, against others on the same files and against the bare disk. */
export const nodeBenchmarks: Benchmark<Bench>[] = [
  ...againstPerlbal,
  ...againstNginx,
  ...puts.map(flushedBenchmark),
]

function getBenchmark({ kib, concurrency, rival }: Case): Benchmark<Bench> {
  return {
    name: `node get of ${sizeName(kib)}${suffix(rival)}`,
    unit: 'gets',
    concurrency,
    against: rival === 'nginx' ? 'nginx, sendfile' : "Perlbal as MogileFS's node",
    async prepare(bench) {
      const options = { rival, connections: concurrency, apart: false }
      const { ours, theirs } = await bothServers(bench, options)
      await ours.ask(put(1, Buffer.alloc(kib * 1024, 'omgfiles')))
      const request = get(1)
      const check = async (from: Connections): Promise<number> => {
        const bytes = await from.ask(request)
        if (bytes !== kib * 1024) throw new Error(`${bytes} bytes came`)
        return 1
      }
      return { subject: () => check(ours), baseline: () => check(theirs) }
    },
  }
}

/** Over existing names, which does not fill the disk, or each under a `fresh` one. */
function putBenchmark({ kib, concurrency, rival }: Case, fresh = false): Benchmark<Bench> {
  return {
    name: `node put of ${sizeName(kib)}${fresh ? ', new names' : ''}, fsync off${suffix(rival)}`,
    unit: 'puts',
    concurrency,
    against: rival === 'nginx' ? 'nginx with dav, no checksum' : 'Perlbal, no checksum',
    async prepare(bench) {
      const options = { rival, connections: concurrency, apart: true }
      const { ours, theirs } = await bothServers(bench, options)
      const body = Buffer.alloc(kib * 1024, 'omgfiles')
      const requests = Array.from({ length: 64 }, (_, i) => put(i + 1, body))
      let count = 0
      const next = (): Buffer => (fresh ? put(++count, body) : requests[count++ % requests.length]!)
      const work = async (to: Connections): Promise<number> => {
        await to.ask(next())
        return 1
      }
      return { subject: () => work(ours), baseline: () => work(theirs) }
    },
  }
}

function flushedBenchmark(kib: number): Benchmark<Bench> {
  return {
    name: `node put of ${sizeName(kib)}, flushed`,
    unit: 'puts',
    concurrency: putConcurrency,
    against: 'bare write, fdatasync, rename, directory sync',
    async prepare(bench) {
      const root = join(bench.dir, `flushed-${kib}`)
      const bare = join(root, 'bare')
      await mkdir(join(root, 'dev1'), { recursive: true })
      await mkdir(bare)
      const node = await connectMany(await startNode(bench, root, []), putConcurrency)
      bench.atEnd(async () => node.close())
      const body = Buffer.alloc(kib * 1024, 'omgfiles')
      const requests = Array.from({ length: 64 }, (_, i) => put(i + 1, body))
      let count = 0
      return {
        async subject() {
          await node.ask(requests[count++ % requests.length]!)
          return 1
        },
        async baseline() {
          await writeFlushed(bare, String(count++ % 64), body)
          return 1
        },
      }
    },
  }
}

async function writeFlushed(dir: string, name: string, body: Buffer): Promise<void> {
  const temp = join(dir, randomUUID())
  const file = await open(temp, 'wx')
  await file.write(body)
  await file.datasync()
  await file.close()
  await rename(temp, join(dir, name))
  const directory = await open(dir, 'r')
  await directory.sync()
  await directory.close()
}
