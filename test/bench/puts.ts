import { randomUUID } from 'node:crypto'
import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Benchmark } from './harness.ts'
import type { Bench } from './system.ts'

/** Puts with two flushed copies, against what the same disk does for two bare flushed files. */
export const putBenchmarks: Benchmark<Bench>[] = [4, 1024].map(kib => ({
  name: `put of ${kib} KiB, SDK, safe`,
  unit: 'puts',
  concurrency: 16,
  against: 'two files written, flushed, renamed',
  async prepare({ system, dir }) {
    const { client } = await system()
    const bare = join(dir, `bare-${kib}`)
    await mkdir(bare)
    const body = Buffer.alloc(kib * 1024, 'omgfiles')
    return {
      async subject() {
        await client.put(`put/${randomUUID()}`, body)
        return 1
      },
      async baseline() {
        await Promise.all([writeFlushed(bare, body), writeFlushed(bare, body)])
        return 1
      },
    }
  },
}))

/** Writes one file as a careful program does: beside its name, flushed, renamed, flushed again. */
export async function writeFlushed(dir: string, body: Buffer): Promise<void> {
  const name = join(dir, randomUUID())
  const file = await open(`${name}.tmp`, 'wx')
  await file.writeFile(body)
  await file.datasync()
  await file.close()
  await rename(`${name}.tmp`, name)
  const directory = await open(dir, 'r')
  await directory.sync()
  await directory.close()
}
