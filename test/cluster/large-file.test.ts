import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import t from 'tap'
import { directory } from '../helpers/directory.ts'
import { peakMemory, startUp } from '../helpers/up.ts'

t.setTimeout(600_000)

const gib = 1024 ** 3
const blockSize = 1024 * 1024

/** Blocks that differ, so that an exchanged one shows. */
async function* blocks(total: number): AsyncGenerator<Buffer> {
  const block = Buffer.alloc(blockSize, 'omgfiles')
  for (let sent = 0; sent < total; sent += blockSize) {
    const own = Buffer.from(block)
    own.writeBigUInt64LE(BigInt(sent))
    yield own
  }
}

t.test('a file of over 2 GiB goes up and down by stream, every process under 300 MB', async t => {
  // Offsets that do not fit 31 bits.
  const size = 2 * gib + 64 * blockSize
  const { client, ready } = await startUp(t, { data: await directory(t), args: ['--separate'] })
  const sent = createHash('sha256')
  let last = 0
  const put = await client.put(
    'large',
    Readable.from(
      (async function* () {
        for await (const block of blocks(size)) {
          sent.update(block)
          yield block
        }
      })(),
    ),
    {
      size,
      onProgress: ({ sent: so }) => {
        last = so
      },
    },
  )
  const sha256 = sent.digest('hex')
  t.match(put, { size, sha256, copies: 2 })
  t.equal(last, size, 'progress ends at the size')

  const got = createHash('sha256')
  const file = await client.get('large')
  for await (const chunk of file.body) got.update(chunk as Buffer)
  t.equal(got.digest('hex'), sha256)

  for (const [name, pid] of Object.entries(ready.pids)) {
    const peak = await peakMemory(pid)
    t.ok(peak < 300, `${name} had ${Math.round(peak)} MB at most`)
  }
  t.ok(process.memoryUsage.rss() < 300 * 1024 ** 2, 'the client too')
  await client.delete('large')
})
