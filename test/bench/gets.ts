import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { request } from 'undici'
import type { Benchmark } from './harness.ts'
import type { Bench } from './system.ts'

const megabyte = 1e6

/** Reads, against a bare node:http server that pipes the same file, over bare undici. */
export const getBenchmarks: Benchmark<Bench>[] = [64, 64 * 1024].map(kib => ({
  name: `get of ${kib} KiB, SDK, verified`,
  unit: 'MB',
  concurrency: kib > 1024 ? 2 : 16,
  against: 'node:http piping the file, undici',
  async prepare({ system, dir, atEnd }) {
    const { client } = await system()
    const size = kib * 1024
    const body = Buffer.alloc(size, 'omgfiles')
    const path = join(dir, `served-${kib}`)
    await writeFile(path, body)
    await client.put(`get/${kib}`, body)
    const server = createServer((_req, res) => {
      createReadStream(path).pipe(res)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    atEnd(async () => {
      server.closeAllConnections()
      server.close()
    })
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const drain = async (chunks: AsyncIterable<Buffer>): Promise<number> => {
      let bytes = 0
      for await (const chunk of chunks) bytes += chunk.length
      if (bytes !== size) throw new Error(`${bytes} bytes came, not ${size}`)
      return bytes / megabyte
    }
    return {
      subject: async () => drain((await client.get(`get/${kib}`)).body),
      baseline: async () => drain((await request(url)).body),
    }
  },
}))
