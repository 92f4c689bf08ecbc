/**
 * Streams a file from its replicas. Until the first byte of the file is there any replica may stand
 * in for another; from then on only one of the same complete length, at the exact offset. When none
 * can, the client's connection is broken, so that a part never passes for the whole.
 */
import { ClientGone, type ClientSink } from './client-sink.ts'
import { UpstreamError, type Exchange } from './exchange.ts'
import type { Nodes } from './nodes.ts'
import type { Span } from './range.ts'
import {
  judgeFirst,
  judgeResume,
  rangeField,
  type FirstAnswer,
  type Missing,
  type Wanted,
} from './replica-answer.ts'
import type { ResponseHead } from './response-parser.ts'
import type { Target } from './targets.ts'

/** What the client is to be told; `length` is that of the body, `size` that of the file. */
export type FileStart =
  | { readonly kind: 'whole'; readonly length: number | undefined }
  | (Span & { readonly kind: 'part'; readonly length: number; readonly size: number })
  | { readonly kind: 'unsatisfiable'; readonly size: number | undefined }

export interface RelayJob {
  readonly targets: readonly Target[]
  readonly method: 'GET' | 'HEAD'
  readonly wanted: Wanted
  readonly sink: ClientSink
  /** Gives the client its head. Called once, unless no replica can be had. */
  readonly begin: (start: FileStart) => void
  readonly signal: AbortSignal
}

/** One request to a node, as the log tells it. */
export interface Attempt {
  readonly node: string
  readonly outcome: string
  readonly ms: number
}

export interface RelayReport {
  /** The replica that served, the last one if there were several. */
  node: string
  attempts: Attempt[]
  /** Times the body went on from another replica. */
  resumed: number
}

export type RelayResult = 'done' | 'unavailable' | 'cut'

export interface RelayOptions {
  readonly nodes: Nodes
  readonly maxAttempts: number
  readonly stallTimeoutMs: number
}

/** A replica that answered as it should; the rest of its body is still to be read. */
interface Replica<Answer> {
  readonly exchange: Exchange
  readonly head: ResponseHead
  readonly answer: Answer
}

/**
 * Serves one file. `unavailable`: no replica could be had and nothing was sent. `cut`: the response
 * had begun and cannot be completed; the caller breaks it off. Throws ClientGone.
 */
export async function relay(
  job: RelayJob,
  report: RelayReport,
  options: RelayOptions,
): Promise<RelayResult> {
  const replicas = new Replicas(job, report, options)
  for (;;) {
    const first = await replicas.next(rangeField(job.wanted.range), head =>
      judgeFirst(head, job.wanted),
    )
    if (!first) return 'unavailable'
    const { answer, exchange } = first
    if (answer.kind === 'unsatisfiable' || job.method === 'HEAD') {
      exchange.discard()
      job.begin(startOf(answer))
      await job.sink.end()
      return 'done'
    }
    // Nothing is promised to the client before the body has begun: until then another replica may start over.
    const piece = await replicas.read(exchange)
    if (piece === 'failed') continue
    if (piece === undefined && answer.size !== undefined && answer.size > 0) {
      replicas.shortened(exchange)
      continue
    }
    job.begin(startOf(answer))
    const size = answer.size
    if (size === undefined) return relayToEnd(job, replicas, exchange, piece)
    const span = answer.kind === 'part' ? answer : { first: 0, last: size - 1 }
    return relaySpan(job, replicas, { ...first, piece }, { ...span, size })
  }
}

function startOf(answer: Exclude<FirstAnswer, { kind: 'failed' }>): FileStart {
  switch (answer.kind) {
    case 'whole':
      return { kind: 'whole', length: answer.size }
    case 'part':
      return { ...answer, length: answer.last - answer.first + 1 }
    case 'unsatisfiable':
      return answer
  }
}

/** A body whose length nobody told cannot be resumed. */
async function relayToEnd(
  { sink }: RelayJob,
  replicas: Replicas,
  exchange: Exchange,
  piece: Buffer | undefined,
): Promise<RelayResult> {
  for (let chunk = piece; chunk;) {
    await sink.write(chunk)
    const next = await replicas.read(exchange)
    if (next === 'failed') return 'cut'
    chunk = next
  }
  await sink.end()
  return 'done'
}

/** Sends the bytes of `span`, going on at another replica as often as it takes. */
async function relaySpan(
  { sink }: RelayJob,
  replicas: Replicas,
  first: Replica<unknown> & { readonly piece: Buffer | undefined },
  span: Missing,
): Promise<RelayResult> {
  const missing = { ...span }
  let { exchange } = first
  let skip = 0
  let chunk: Buffer | undefined | 'failed' = first.piece
  for (;;) {
    if (chunk === undefined || chunk === 'failed') {
      if (missing.first > missing.last) break // an empty file
      if (chunk === undefined) replicas.shortened(exchange)
      const next = await replicas.next(rangeField({ kind: 'from', ...missing }), head =>
        judgeResume(head, missing, first.head),
      )
      if (!next) return 'cut'
      replicas.resumed()
      exchange = next.exchange
      skip = next.answer.skip
    } else {
      const from = Math.min(skip, chunk.length)
      const to = Math.min(chunk.length, from + missing.last - missing.first + 1)
      skip -= from
      if (to > from) {
        missing.first += to - from
        await sink.write(chunk.subarray(from, to))
      }
      if (missing.first > missing.last) break
    }
    chunk = await replicas.read(exchange)
  }
  if (!exchange.ended) exchange.discard()
  await sink.end()
  return 'done'
}

/** The targets of one request, each asked at most once, in strict order. */
class Replicas {
  readonly #job: RelayJob
  readonly #report: RelayReport
  readonly #options: RelayOptions
  #at = 0

  constructor(job: RelayJob, report: RelayReport, options: RelayOptions) {
    this.#job = job
    this.#report = report
    this.#options = options
  }

  /** The next replica whose answer `judge` accepts; undefined when there is none left. Throws ClientGone. */
  async next<Answer extends { kind: string }>(
    range: string,
    judge: (head: ResponseHead) => Answer,
  ): Promise<Replica<Exclude<Answer, { kind: 'failed' }>> | undefined> {
    const { targets, method, signal } = this.#job
    const { nodes, maxAttempts } = this.#options
    while (this.#at < targets.length && this.#report.attempts.length < maxAttempts) {
      const target = targets[this.#at++] as Target
      if (!(await nodes.allowed(target))) continue
      this.#report.node = `${target.host}:${target.port}`
      const startedAt = performance.now()
      try {
        const { exchange, head } = await nodes.ask({ target, method, range, signal })
        const answer = judge(head)
        if (answer.kind !== 'failed') {
          this.#note('ok', startedAt)
          return { exchange, head, answer: answer as Exclude<Answer, { kind: 'failed' }> }
        }
        exchange.discard()
        const { why } = answer as { why?: string }
        this.#note(why === 'status' ? String(head.status) : (why ?? 'failed'), startedAt)
      } catch (err) {
        if (!(err instanceof UpstreamError)) throw err
        if (signal.aborted) throw new ClientGone('the client has left', { cause: err })
        this.#note(err.kind, startedAt)
      }
    }
    this.#report.node = ''
    return undefined
  }

  /** The next piece of a body; `failed` once its node has. Throws ClientGone. */
  async read(exchange: Exchange): Promise<Buffer | undefined | 'failed'> {
    try {
      return await exchange.read(this.#options.stallTimeoutMs)
    } catch (err) {
      if (!(err instanceof UpstreamError)) throw err
      if (this.#job.signal.aborted) throw new ClientGone('the client has left', { cause: err })
      this.#spoil(err.kind)
      return 'failed'
    }
  }

  /** The node ended its body cleanly, but early. */
  shortened(exchange: Exchange): void {
    exchange.discard()
    this.#spoil('short')
  }

  resumed(): void {
    this.#report.resumed++
  }

  #note(outcome: string, startedAt: number): void {
    const ms = Math.round(performance.now() - startedAt)
    this.#report.attempts.push({ node: this.#report.node, outcome, ms })
  }

  /** The attempt that looked good at its head was not. */
  #spoil(outcome: string): void {
    const { attempts } = this.#report
    const last = attempts.at(-1)
    if (last) attempts[attempts.length - 1] = { ...last, outcome: `body ${outcome}` }
  }
}
