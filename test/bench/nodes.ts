import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { replicaPath } from '../../common/layout.ts'
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

/** A storage node and nginx, each with connections, on a root of their own. */
async function bothServers(
  bench: Bench,
  name: string,
  { connections, apart }: { connections: number; apart: boolean },
): Promise<{ ours: Connections; nginx: Connections }> {
  const roots = ['ours', apart ? 'nginx' : 'ours'].map(who => join(bench.dir, `${name}-${who}`))
  for (const root of roots) mkdirSync(join(root, 'dev1'), { recursive: true })
  const teardown = (close: () => unknown): void => bench.atEnd(async () => close())
  const port = await startNode(bench, roots[0]!, ['--fsync', 'off'])
  const nginxAt = await startNginx({ teardown }, roots[1]!, [1])
  const ours = await connectMany(port, connections)
  const nginx = await connectMany(nginxAt.port, connections)
  bench.atEnd(async () => {
    ours.close()
    nginx.close()
  })
  return { ours, nginx }
}

type Connections = Awaited<ReturnType<typeof connectMany>>

/** The storage node alone, against nginx on the same files and against the bare disk. */
export const nodeBenchmarks: Benchmark<Bench>[] = [
  ...(noNginx === false ? [...gets.map(getBenchmark), ...puts.map(putBenchmark)] : []),
  ...puts.map(flushedBenchmark),
]

function getBenchmark([kib, concurrency]: [number, number]): Benchmark<Bench> {
  return {
    name: `node get of ${sizeName(kib)}`,
    unit: 'gets',
    concurrency,
    against: 'nginx, sendfile',
    async prepare(bench) {
      const options = { connections: concurrency, apart: false }
      const { ours, nginx } = await bothServers(bench, `get-${kib}`, options)
      await ours.ask(put(1, Buffer.alloc(kib * 1024, 'omgfiles')))
      const request = get(1)
      const check = async (from: Connections): Promise<number> => {
        const bytes = await from.ask(request)
        if (bytes !== kib * 1024) throw new Error(`${bytes} bytes came`)
        return 1
      }
      return { subject: () => check(ours), baseline: () => check(nginx) }
    },
  }
}

function putBenchmark(kib: number): Benchmark<Bench> {
  return {
    name: `node put of ${sizeName(kib)}, fsync off`,
    unit: 'puts',
    concurrency: putConcurrency,
    against: 'nginx with dav, no checksum',
    async prepare(bench) {
      const options = { connections: putConcurrency, apart: true }
      const { ours, nginx } = await bothServers(bench, `put-${kib}`, options)
      const body = Buffer.alloc(kib * 1024, 'omgfiles')
      // Over existing names: that does not fill the disk.
      const requests = Array.from({ length: 64 }, (_, i) => put(i + 1, body))
      let count = 0
      const work = async (to: Connections): Promise<number> => {
        await to.ask(requests[count++ % requests.length]!)
        return 1
      }
      return { subject: () => work(ours), baseline: () => work(nginx) }
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
