/**
 * Streams a file from its replicas. Until the first byte of the file is there any replica may stand
 * in for another; from then on only one of the same complete length, at the exact offset. When none
 * can, the client's connection is broken, so that a part never passes for the whole.
 */
import type { ClientSink } from '../front/client-sink.ts'
import { planRanges, type RangeSpec, type Span } from '../http/range.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Exchange } from '../upstream/exchange.ts'
import type { Taker } from '../upstream/pump.ts'
import { layOut } from './multipart.ts'
import {
  judgeFirst,
  judgeResume,
  rangeField,
  wholeDigests,
  type FirstAnswer,
  type Missing,
  type ResumeAnswer,
} from './replica-answer.ts'
import type { Replicas } from './replicas.ts'
import type { Replica } from './search.ts'
import { isAsTold, newSha256 } from './told-digest.ts'

/** What the client is to be told; `length` is that of the body, `size` that of the file. */
export type FileStart =
  | { readonly kind: 'whole'; readonly length: number | undefined }
  | (Span & { readonly kind: 'part'; readonly length: number; readonly size: number })
  | { readonly kind: 'parts'; readonly length: number; readonly contentType: string }
  | { readonly kind: 'unsatisfiable'; readonly size: number | undefined }

export interface RelayJob {
  readonly method: 'GET' | 'HEAD'
  /** The ranges that are asked for. */
  readonly specs: readonly RangeSpec[] | undefined
  /** The complete length, as far as the application told it. */
  readonly expectedSize: number | undefined
  /** In base64, what a whole file is held to. */
  readonly sha256: string | undefined
  /** Content-Type of the file. */
  readonly type: string | undefined
  readonly sink: ClientSink
  /** Gives the client its head. Called once, unless no replica can be had. */
  readonly begin: (start: FileStart) => void
}

export type RelayResult = 'done' | 'unavailable' | 'cut'

/**
 * A file that is held to its digest is kept back up to this size, so that another replica can stand in
 * for a wrong one; of a larger one the last piece is.
 */
const heldBytes = 262_144

/** A first answer that is usable, with the file or a part of it. */
export type FirstReplica = Replica<Exclude<FirstAnswer, { kind: 'failed' }>>

/**
 * Serves one file. `unavailable`: no replica could be had and nothing was sent. `cut`: the response
 * had begun and cannot be completed; the caller breaks it off. Throws ClientGone.
 */
export function relay(job: RelayJob, replicas: Replicas): Promise<RelayResult> {
  const { specs, expectedSize } = job
  if (specs && specs.length > 1) return relayParts(job, replicas, specs)
  const wanted = { range: specs?.[0], expectedSize }
  return new Promise((resolve, reject) => {
    replicas.search(rangeField(wanted.range), {
      judge: head => judgeFirst(head, wanted),
      // At once, so that what came with the head goes straight on to the client.
      found: first => {
        if (first) relayFrom(job, replicas, first).then(resolve, reject)
        else resolve('unavailable')
      },
      failed: reject,
    })
  })
}

/** Goes on with a replica that has answered, as `relay`. */
export async function relayFrom(
  job: RelayJob,
  replicas: Replicas,
  replica: FirstReplica,
): Promise<RelayResult> {
  const wanted = { range: job.specs?.[0], expectedSize: job.expectedSize }
  for (let first: FirstReplica | undefined = replica; first;) {
    const { answer, exchange } = first
    if (answer.kind === 'unsatisfiable' || job.method === 'HEAD') {
      exchange.discard()
      job.begin(startOf(answer))
      await job.sink.end()
      return 'done'
    }
    if (
      job.sha256 !== undefined &&
      answer.kind === 'whole' &&
      (answer.size ?? Infinity) <= heldBytes
    ) {
      const held = await holdBody(replicas, { ...first, answer })
      if (!held) return 'unavailable'
      if (isAsTold(held, job.sha256)) {
        job.begin(startOf(answer))
        await job.sink.end(held)
        return 'done'
      }
      replicas.wrong()
      first = await replicas.next(rangeField(wanted.range), head => judgeFirst(head, wanted))
      continue
    }
    // Nothing is promised to the client before the body has begun: until then another replica may start over.
    const sent = await sendBody(job, replicas, first, answer)
    if (sent !== 'nothing') return sent
    first = await replicas.next(rangeField(wanted.range), head => judgeFirst(head, wanted))
  }
  return 'unavailable'
}

function startOf(answer: FirstReplica['answer']): FileStart {
  switch (answer.kind) {
    case 'whole':
      return { kind: 'whole', length: answer.size }
    case 'part':
      return {
        kind: 'part',
        first: answer.first,
        last: answer.last,
        size: answer.size,
        length: answer.last - answer.first + 1,
      }
    case 'unsatisfiable':
      return answer
  }
}

/** All bytes of a whole answer, gone on with at other replicas if need be; undefined when none can. */
export async function holdBody(
  replicas: Replicas,
  first: Replica<{ readonly kind: 'whole'; readonly size: number | undefined }>,
): Promise<Buffer | undefined> {
  const size = first.answer.size ?? 0
  const pieces: Buffer[] = []
  const span = { first: 0, last: size - 1, size }
  const whole = await copySpan(replicas, { ...first, skip: 0 }, span, piece => {
    pieces.push(Buffer.from(piece))
    return undefined
  })
  return whole ? Buffer.concat(pieces) : undefined
}

type BodyAnswer = Exclude<FirstReplica['answer'], { kind: 'unsatisfiable' }>

/** Sends a body and the head before it. `nothing`: it broke off before its first byte. */
async function sendBody(
  job: RelayJob,
  replicas: Replicas,
  { exchange, head }: FirstReplica,
  answer: BodyAnswer,
): Promise<RelayResult | 'nothing'> {
  const { sink, sha256 } = job
  const { size } = answer
  if (size === undefined) return relayToEnd(job, replicas, exchange)
  const span = answer.kind === 'part' ? answer : { first: 0, last: size - 1 }
  const missing = { first: span.first, last: span.last, size }
  // The last piece ends the response: where it is the only one, head and body leave together.
  let left = missing.last - missing.first + 1
  const hash = sha256 !== undefined && answer.kind === 'whole' ? newSha256() : undefined
  let wrong = false
  let begun = false
  const write = (chunk: Buffer): Promise<void> | undefined => {
    if (!begun) job.begin(startOf(answer))
    begun = true
    left -= chunk.length
    hash?.update(chunk)
    if (left > 0) return sink.write(chunk, true)
    wrong = hash !== undefined && hash.digest('base64') !== sha256
    return wrong ? undefined : sink.end(chunk, true)
  }
  const first = { exchange, head, skip: 0 }
  if (!(await copySpan(replicas, first, missing, write, () => begun))) {
    return begun ? 'cut' : 'nothing'
  }
  if (wrong) {
    replicas.wrong()
    return 'cut'
  }
  if (!begun) {
    job.begin(startOf(answer)) // an empty file
    await sink.end()
  }
  return 'done'
}

/** A body whose length nobody told cannot be resumed. */
async function relayToEnd(
  { sink, begin }: RelayJob,
  replicas: Replicas,
  exchange: Exchange,
): Promise<RelayResult | 'nothing'> {
  if ((await replicas.begins(exchange)) === 'failed') return 'nothing'
  begin({ kind: 'whole', length: undefined })
  for (;;) {
    const chunk = await replicas.read(exchange)
    if (chunk === 'failed') return 'cut'
    if (!chunk) break
    await sink.write(chunk)
  }
  await sink.end()
  return 'done'
}

/** A replica from which a stretch of the file is read. */
export interface SpanReader {
  readonly exchange: Exchange
  readonly head: Replica<unknown>['head']
  /** Bytes of its answer that lie before the stretch. */
  readonly skip: number
}

type Write = (piece: Buffer) => Promise<void> | undefined

/** Takes the bytes of a stretch out of answers that may begin before it and end behind it. */
class SpanTaker implements Taker {
  /** What is missing of the stretch: its ends, both inside. */
  first: number
  readonly last: number
  /** Bytes of the answer that come before. */
  skip: number
  readonly #replicas: Replicas
  readonly #write: Write

  constructor(replicas: Replicas, { first, last }: Span, skip: number, write: Write) {
    this.#replicas = replicas
    this.first = first
    this.last = last
    this.skip = skip
    this.#write = write
  }

  get done(): boolean {
    return this.first > this.last
  }

  take(piece: Buffer): Promise<void> | undefined {
    this.#replicas.progressed()
    const from = Math.min(this.skip, piece.length)
    const to = Math.min(piece.length, from + this.last - this.first + 1)
    this.skip -= from
    if (to === from) return undefined
    this.first += to - from
    return this.#write(from === 0 && to === piece.length ? piece : piece.subarray(from, to))
  }
}

/**
 * Writes the bytes of `span`, going on at another replica as often as it takes; a piece that `write`
 * gets may be overwritten after the call. False when none can go on, or `mayResume` says that none
 * should. Throws what `write` throws.
 */
export async function copySpan(
  replicas: Replicas,
  first: SpanReader,
  span: Missing,
  write: Write,
  mayResume = (): boolean => true,
): Promise<boolean> {
  const taker = new SpanTaker(replicas, span, first.skip, write)
  let { exchange } = first
  while (!taker.done) {
    const how = await replicas.pump(exchange, taker)
    if (taker.done) break
    if (how !== 'failed') replicas.shortened(exchange)
    if (!mayResume()) return false
    const missing = { first: taker.first, last: taker.last, size: span.size }
    const next = await replicas.next(rangeField({ kind: 'from', ...missing }), head =>
      judgeResume(head, missing, first.head),
    )
    if (!next) return false
    replicas.resumed()
    exchange = next.exchange
    taker.skip = next.answer.skip
  }
  if (!exchange.ended) exchange.discard()
  return true
}

/**
 * Several ranges. Nodes know single ones only, so each is asked for by itself; the first also tells the
 * size, unless that is known.
 */
async function relayParts(
  job: RelayJob,
  replicas: Replicas,
  specs: readonly RangeSpec[],
): Promise<RelayResult> {
  const { expectedSize, sink, type, begin } = job
  const whole = (): Promise<RelayResult> => relay({ ...job, specs: undefined }, replicas)
  let probe: FirstReplica | undefined
  let size = expectedSize
  if (size === undefined) {
    const wanted = { range: specs[0], expectedSize }
    probe = await replicas.next(rangeField(specs[0]), head => judgeFirst(head, wanted))
    if (!probe) return 'unavailable'
    size = probe.answer.size
  }
  const plan = size === undefined ? undefined : planRanges(specs, size)
  if (plan?.kind === 'parts' && plan.spans.length > 1 && size !== undefined) {
    const spans = plan.spans as [Span, ...Span[]]
    let begun: ResponseHead | undefined
    const open = async (span: Span): Promise<SpanReader | undefined> => {
      const missing = { ...span, size }
      const found = await replicas.next<ResumeAnswer>(rangeField({ kind: 'from', ...span }), head =>
        judgeResume(head, missing, begun, wholeDigests),
      )
      return found && { ...found, skip: found.answer.skip }
    }
    // The answer to the first range is the first part, unless that range lies beyond the end.
    const fits = probe?.answer.kind === 'part' && probe.answer.first === spans[0].first
    if (probe && !fits) {
      probe.exchange.discard()
      replicas.another()
    }
    let reader = probe && fits ? { ...probe, skip: 0 } : await open(spans[0])
    if (!reader) return 'unavailable'
    begun = reader.head
    const { heads, tail, ...start } = layOut(spans, size, type)
    begin({ kind: 'parts', ...start })
    for (const [i, span] of spans.entries()) {
      if (i > 0) {
        replicas.another()
        reader = await open(span)
      }
      if (!reader) return 'cut'
      await sink.write(heads[i] as Buffer)
      if (
        !(await copySpan(replicas, reader, { ...span, size }, chunk => sink.write(chunk, true)))
      ) {
        return 'cut'
      }
    }
    await sink.write(tail)
    await sink.end()
    return 'done'
  }
  if (probe) {
    probe.exchange.discard()
    replicas.another()
  }
  if (plan?.kind === 'none') {
    begin({ kind: 'unsatisfiable', size })
    await sink.end()
    return 'done'
  }
  const [span] = plan?.kind === 'parts' ? plan.spans : []
  return span ? relay({ ...job, specs: [{ kind: 'from', ...span }] }, replicas) : whole()
}
