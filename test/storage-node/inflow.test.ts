import t from 'tap'
import { defaultPatience, type Body, type Patience } from '../../storage-node/writing/body.ts'
import { Buffers } from '../../storage-node/writing/buffers.ts'
import { IncomingBody } from '../../storage-node/lane/inflow.ts'

const quick: Patience = { gapMs: 200, graceMs: 60_000, minBytesPerSecond: 1024 }

function bodyOf(length: number): { body: IncomingBody; resumed: () => number } {
  let count = 0
  const body = new IncomingBody({
    buffers: new Buffers(),
    length,
    resume: () => {
      count++
    },
  })
  return { body, resumed: () => count }
}

/** Puts bytes where the next read would put them; returns how many had room. */
function read(body: IncomingBody, bytes: Buffer): number {
  const room = body.room()
  if (!room) return 0
  const size = bytes.copy(room)
  body.filled(size)
  return size
}

async function all(pieces: Body): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const piece of pieces) {
    copies.push(Buffer.from(piece))
    pieces.release?.(piece)
  }
  return Buffer.concat(copies)
}

void t.test('a body is read into pieces, and nothing behind it is', async t => {
  const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251))
  const { body } = bodyOf(2_500_000)
  t.equal(body.take(sent.subarray(0, 1000)), 1000)
  const arriving = all(body.pieces())
  for (let at = 1000; !body.complete;) {
    at += read(body, sent.subarray(at, at + 70_000))
    await new Promise(setImmediate)
  }
  t.equal(body.room(), undefined, 'no room behind its end')
  t.ok((await arriving).equals(sent.subarray(0, 2_500_000)))

  const small = bodyOf(10).body
  t.equal(small.take(sent.subarray(0, 300)), 10)
  t.ok((await all(small.pieces())).equals(sent.subarray(0, 10)))
  t.equal((await all(bodyOf(0).body.pieces())).length, 0)
})

void t.test('a body that nobody asks for stops the reading, until someone does', async t => {
  const { body, resumed } = bodyOf(50_000_000)
  let bytes = 0
  for (let size = -1; size !== 0;) {
    size = read(body, Buffer.alloc(64 * 1024))
    bytes += size
  }
  t.ok(body.full)
  t.ok(bytes <= 2 * 1024 * 1024, `${bytes} bytes wait`)
  t.equal(body.received().length, bytes)
  const pieces = body.pieces() as AsyncIterable<Buffer>
  for await (const piece of pieces) {
    t.ok(piece.length > 0)
    break
  }
  t.equal(resumed(), 1)
  t.ok(body.room())
})

void t.test('a body that comes slowly is waited for, one that stalls is not', async t => {
  const { body } = bodyOf(1_000)
  const arriving = all(body.pieces(quick))
  for (let i = 0; i < 10; i++) {
    await new Promise(resolve => setTimeout(resolve, 50))
    read(body, Buffer.alloc(100))
  }
  t.equal((await arriving).length, 1_000, 'longer than the longest gap in all')

  const stalled = bodyOf(1_000).body
  read(stalled, Buffer.alloc(10))
  await t.rejects(all(stalled.pieces(quick)), { code: 'request_timeout' })
  const dribbling = bodyOf(1_000).body
  const patience = { ...defaultPatience, gapMs: 100_000, graceMs: 100 }
  await t.rejects(all(dribbling.pieces(patience)), { code: 'request_timeout' })
  const broken = bodyOf(1_000).body
  const failing = all(broken.pieces())
  broken.fail()
  await t.rejects(failing, { code: 'bad_request' })
})
