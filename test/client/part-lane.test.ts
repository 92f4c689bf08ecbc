import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../helpers/until.ts'
import { startCuttingRelay, type CuttingRelay } from './cutting-relay.ts'
import { startStandIn } from './stand-in.ts'

t.setTimeout(3_600_000)
t.jobs = 2 // two of them mostly wait

const mib = 1024 * 1024
const size = 80 * mib
/** Bytes that are cut into; the whole promise, 5 GiB, is `OMG_SOAK=1`. */
const cutSize = (process.env['OMG_SOAK'] ? 5 * 1024 : 200) * mib

/** Pieces that differ, of odd length. */
function* pieces(size: number): Generator<Buffer> {
  for (let at = 0; at < size;) {
    const piece = Buffer.alloc(Math.min(777_777, size - at), `${at} `)
    at += piece.length
    yield piece
  }
}

function digestOf(size: number): string {
  const digest = createHash('sha256')
  for (const piece of pieces(size)) digest.update(piece)
  return digest.digest('hex')
}

void t.test('a large stream outlives cut connections, and is hardly sent twice', async t => {
  const size = cutSize
  const cluster = await startStandIn(t, { hosts: 2 })
  const relays: CuttingRelay[] = []
  for (const place of cluster.places) relays.push(await startCuttingRelay(t, place.origin))
  cluster.places = cluster.places.map((place, i) => ({ ...place, origin: relays[i]!.origin }))
  let cuts = 0
  const put = await cluster.client.put('large', Readable.from(pieces(size)), {
    size,
    onProgress({ sent }) {
      if (sent < ((cuts + 1) * size) / 4 || cuts === 3) return
      relays[cuts % 2]!.cutAfter(mib)
      cuts++
    },
  })
  t.equal(cuts, 3)
  t.match(put, { size, sha256: digestOf(size), copies: 2 })
  for (const relay of relays) {
    t.ok(relay.received() < 1.1 * size, `${relay.received() / size} times its size were sent`)
  }
  t.equal(cluster.opened.length, 1)
  const left = cluster.nodes.flatMap(({ root }, i) =>
    readdirSync(join(root, `dev${i + 1}`, '.tmp')),
  )
  t.same(left, [], 'no part is left')
})

void t.test('a cut in a part that took long is no silence', { buffered: true }, async t => {
  const cluster = await startStandIn(t, { hosts: 1 })
  const [place] = cluster.places
  const relay = await startCuttingRelay(t, place!.origin)
  cluster.places = [{ ...place!, origin: relay.origin }]
  async function* slowly(): AsyncGenerator<Buffer> {
    let at = 0
    for (const piece of pieces(size)) {
      yield piece
      at++
      // For longer than the SDK waits for a node that is gone, in the first part.
      if (at <= 11) await sleep(1000)
      if (at === 11) relay.cutAfter(1)
    }
  }
  const put = await cluster.client.put('slow', slowly(), { size })
  t.match(put, { size, sha256: digestOf(size), devids: [1] })
  t.equal(cluster.opened.length, 1)
})

void t.test(
  'a node that stays away is given up, and the others go on',
  { buffered: true },
  async t => {
    const cluster = await startStandIn(t, { hosts: 2 })
    const relay = await startCuttingRelay(t, cluster.places[0]!.origin)
    cluster.places = cluster.places.map((place, i) =>
      i === 0 ? { ...place, origin: relay.origin } : place,
    )
    let isCut = false
    const put = await cluster.client.put('large', Readable.from(pieces(size)), {
      size,
      onProgress({ sent }) {
        if (isCut || sent < 30 * mib) return
        isCut = true
        relay.setOpen(false)
        relay.cutAfter(1)
      },
    })
    t.same(put.devids, [2])
    t.equal(put.sha256, digestOf(size))
    t.equal(cluster.commits.at(-1)?.makeCopies, true, 'the tracker is asked for the other copy')
  },
)

void t.test('several parts of a file are on their way to a node at once', async t => {
  const cluster = await startStandIn(t, { hosts: 1 })
  const [place] = cluster.places
  const relay = await startCuttingRelay(t, place!.origin)
  cluster.places = [{ ...place!, origin: relay.origin }]
  relay.stallAfter(mib)
  const abort = new AbortController()
  const { signal } = abort
  const putting = cluster.client.put('large', Readable.from(pieces(size)), { size, signal })
  putting.catch(() => {})
  await until('four connections are used', () => relay.connections() >= 4)
  abort.abort(new Error('enough'))
  await t.rejects(putting, { message: 'enough' })
})

void t.test('an abort ends a large put, and its requests', async t => {
  const cluster = await startStandIn(t, { hosts: 2 })
  const abort = new AbortController()
  await t.rejects(
    cluster.client.put('large', Readable.from(pieces(size)), {
      size,
      signal: abort.signal,
      onProgress: ({ sent }) => {
        if (sent > 40 * mib) abort.abort(new Error('enough'))
      },
    }),
    { message: 'enough' },
  )
  t.equal(cluster.abandoned.length, 1)
  const broken = new Error('the bar is gone')
  const progress = { size, onProgress: () => { throw broken } } // prettier-ignore
  await t.rejects(cluster.client.put('large', Readable.from(pieces(size)), progress), broken)
  t.equal(cluster.abandoned.length, 2)
  t.equal(await cluster.client.exists('large'), false)
})
