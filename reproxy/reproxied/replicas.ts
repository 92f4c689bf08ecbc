/**
 * The replicas of one file, asked one after the other for as long as it takes: the next follows at once
 * when one fails, and beside one that is slow. What a failure says about its node is noted on the way.
 */
import { ClientGone } from '../front/client-sink.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Nodes, NodeState } from '../nodes/nodes.ts'
import type { ReplicaProblem, ReplicaReports } from '../nodes/reports.ts'
import type { RetryBudget } from '../nodes/retry-budget.ts'
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import { Cancel } from '../upstream/cancel.ts'
import { UpstreamError, type Exchange } from '../upstream/exchange.ts'

/** One request to a node, as the log tells it. */
export interface Attempt {
  readonly node: string
  outcome: string
  readonly ms: number
}

export interface RelayReport {
  /** The replica that served, the last one if there were several. */
  node: string
  attempts: Attempt[]
  /** Times the body went on from another replica. */
  resumed: number
  /** A second request was made beside a slow one. */
  hedged: boolean
}

/** A report of nothing yet. */
export const newRelayReport = (): RelayReport => ({
  node: '',
  attempts: [],
  resumed: 0,
  hedged: false,
})

export interface RelayOptions {
  readonly nodes: Nodes
  readonly budget: RetryBudget
  readonly reports: ReplicaReports
  readonly metrics: Metrics
  readonly maxAttempts: number
  /** Milliseconds until a second node is asked beside a slow one; 0: never. */
  readonly hedgeDelayMs: number
  readonly stallTimeoutMs: number
}

export interface ReplicaJob {
  readonly targets: readonly Target[]
  readonly method: 'GET' | 'HEAD'
  readonly cancel: Cancel
}

/** A replica that answered as it should; the rest of its body is still to be read. */
export interface Replica<Answer> {
  readonly exchange: Exchange
  readonly head: ResponseHead
  readonly answer: Answer
}

type Good<Answer> = Exclude<Answer, { kind: 'failed' }>
type Judge<Answer> = (head: ResponseHead) => Answer

/** How an attempt went; `denied` made no request. */
type Outcome<Answer> =
  | { readonly kind: 'good'; readonly replica: Replica<Good<Answer>>; readonly attempt: Attempt }
  | { readonly kind: 'failed'; readonly phase: 'connect' | 'head' }
  | { readonly kind: 'denied' }

/** An attempt under way. */
interface Try<Answer> {
  readonly target: Target
  readonly abort: Cancel
  readonly hedge: boolean
  /** Resolves when the request has left. */
  readonly sent: Promise<void>
  readonly over: Promise<readonly [Try<Answer>, Outcome<Answer>]>
  /** Gives its share of the retry budget back, if it has one. */
  readonly refund: () => void
}

/** The replica whose body is being read. */
interface Current {
  readonly target: Target
  readonly node: NodeState
  readonly attempt: Attempt
  /** Its body has brought something. */
  progress: boolean
}

const problems: Readonly<Record<string, ReplicaProblem>> = {
  size: 'size',
  digest: 'digest',
  404: 'missing',
  410: 'missing',
}

export class Replicas {
  readonly #job: ReplicaJob
  readonly #report: RelayReport
  readonly #options: RelayOptions
  #queue: Target[]
  /** Asked already, and not found wrong: they may be asked again once another has done its part. */
  #asked: Target[] = []
  #attempts = 0
  #maxAttempts: number
  /** Attempts that are no repetition. */
  #firsts = 1
  #current: Current | undefined

  constructor(job: ReplicaJob, report: RelayReport, options: RelayOptions) {
    this.#job = job
    this.#report = report
    this.#options = options
    this.#queue = options.nodes.order(job.targets)
    this.#maxAttempts = options.maxAttempts - report.attempts.length
  }

  /**
   * The next replica whose answer `judge` accepts; undefined when there is none left, or no more may
   * be asked. Throws ClientGone.
   */
  async next<Answer extends { kind: string }>(
    range: string,
    judge: Judge<Answer>,
  ): Promise<Replica<Good<Answer>> | undefined> {
    const running = new Set<Try<Answer>>()
    const { hedgeDelayMs, metrics } = this.#options
    this.#report.node = ''
    try {
      for (;;) {
        const newest = [...running].at(-1) ?? this.#start(running, range, judge)
        if (!newest) return undefined
        const event = await this.#wait(running, newest, hedgeDelayMs)
        if (event === 'slow') {
          if (this.#start(running, range, judge)) this.#report.hedged = true
          continue
        }
        const [finished, outcome] = event
        running.delete(finished)
        if (outcome.kind === 'good') {
          if (running.size > 0 || finished.hedge) metrics.hedge(finished.hedge ? 'won' : 'lost')
          return this.#take(finished, outcome)
        }
        finished.refund()
        if (this.#job.cancel.aborted) throw new ClientGone('the client has left')
        if (outcome.kind === 'denied') continue
        if (finished.hedge) metrics.hedge('failed')
        // Beside one that is slow the next is asked at once, as it would be without it.
        if (this.#start(running, range, judge)) metrics.failover(outcome.phase)
        else if (running.size === 0) return undefined
      }
    } finally {
      for (const other of running) this.#cancel(other)
    }
  }

  /** The next piece of a body; undefined at its end, `failed` once its node has. Throws ClientGone. */
  async read(exchange: Exchange): Promise<Buffer | undefined | 'failed'> {
    try {
      const chunk = await exchange.read(this.#options.stallTimeoutMs)
      if (chunk && this.#current) this.#current.progress = true
      return chunk
    } catch (err) {
      return this.#failed(err)
    }
  }

  /** Whether there is a piece to `read`; `failed` once its node has. Throws ClientGone. */
  async begins(exchange: Exchange): Promise<boolean | 'failed'> {
    try {
      return await exchange.begins(this.#options.stallTimeoutMs)
    } catch (err) {
      return this.#failed(err)
    }
  }

  /** The node ended its body cleanly, but early. */
  shortened(exchange: Exchange): void {
    exchange.discard()
    if (this.#current) this.#options.reports.report(this.#current.target, 'short')
    this.#spoil('short')
  }

  /** The whole body has come, and is not what the application said. */
  wrong(): void {
    const current = this.#current
    if (!current) return
    current.attempt.outcome = 'body digest'
    this.#options.reports.report(current.target, 'digest')
    this.#options.metrics.failover('body')
    this.#current = undefined
  }

  /** The body goes on at the replica that came last. */
  resumed(): void {
    this.#report.resumed++
  }

  /** Another part of the file is wanted: its first request is no repetition, and begins where the last one went well. */
  another(): void {
    this.#maxAttempts++
    this.#firsts = this.#attempts + 1
    const good = this.#current?.target
    if (good) this.#queue = [good, ...this.#queue.filter(target => target !== good)]
  }

  /** Begins an attempt at the next target; undefined when that is not possible. */
  #start<Answer extends { kind: string }>(
    running: Set<Try<Answer>>,
    range: string,
    judge: Judge<Answer>,
  ): Try<Answer> | undefined {
    const { budget, metrics } = this.#options
    if (this.#attempts >= this.#maxAttempts) return undefined
    const again = this.#attempts >= this.#firsts
    const [target] = this.#queue
    if (!target) return undefined
    if (again && !budget.take()) {
      metrics.shed('budget')
      return undefined
    }
    this.#queue.shift()
    this.#attempts++
    let held = again
    const refund = (): void => {
      if (held) budget.giveBack()
      held = false
    }
    const abort = new Cancel()
    let onTurn = (): void => {}
    const sent = new Promise<void>(resolve => {
      onTurn = resolve
    })
    const outcome = this.#attempt(target, { range, judge, onTurn, abort })
    const attempt: Try<Answer> = {
      target,
      abort,
      hedge: running.size > 0,
      sent,
      over: outcome.then(result => [attempt, result] as const),
      refund,
    }
    running.add(attempt)
    return attempt
  }

  async #attempt<Answer extends { kind: string }>(
    target: Target,
    {
      range,
      judge,
      onTurn,
      abort,
    }: { range: string; judge: Judge<Answer>; onTurn: () => void; abort: Cancel },
  ): Promise<Outcome<Answer>> {
    const { nodes, metrics, reports } = this.#options
    const { method, cancel } = this.#job
    if (!nodes.listed(target) && !(await nodes.allowed(target))) {
      this.#attempts--
      metrics.denied.inc()
      return { kind: 'denied' }
    }
    const { breaker, name: node } = nodes.stateOf(target)
    const startedAt = performance.now()
    const note = (outcome: string): Attempt => {
      const attempt = { node, outcome, ms: Math.round(performance.now() - startedAt) }
      this.#report.attempts.push(attempt)
      metrics.attempts.inc({ node, outcome })
      return attempt
    }
    const onAbort = (): void => abort.abort()
    cancel.add(onAbort)
    breaker.begin()
    try {
      const ask = { target, method, range, cancel: abort, onTurn }
      const { exchange, head } = await nodes.ask(ask)
      exchange.onOver(() => cancel.remove(onAbort))
      const answer = judge(head)
      if (answer.kind !== 'failed') {
        const replica = { exchange, head, answer: answer as Good<Answer> }
        return { kind: 'good', replica, attempt: note('ok') }
      }
      exchange.discard()
      const { why } = answer as { why?: string }
      const outcome = why === 'status' ? String(head.status) : (why ?? 'failed')
      note(outcome)
      if (head.status >= 500) breaker.failed()
      else breaker.succeeded()
      const problem = problems[outcome]
      if (problem) reports.report(target, problem)
      else if (head.status < 500) this.#asked.push(target)
      return { kind: 'failed', phase: 'head' }
    } catch (err) {
      cancel.remove(onAbort)
      if (!(err instanceof UpstreamError)) throw err
      const cancelled = abort.aborted
      note(cancelled ? 'cancelled' : err.kind)
      if (cancelled) breaker.gaveUp()
      else breaker.failed()
      this.#asked.push(target)
      return { kind: 'failed', phase: err.kind === 'connect' ? 'connect' : 'head' }
    }
  }

  /** Waits until one is over, or until `newest` has been slow for so long that another is worth asking. */
  async #wait<Answer>(
    running: ReadonlySet<Try<Answer>>,
    newest: Try<Answer>,
    hedgeDelayMs: number,
  ): Promise<readonly [Try<Answer>, Outcome<Answer>] | 'slow'> {
    const overs = [...running].map(({ over }) => over)
    const mayHedge = hedgeDelayMs > 0 && running.size === 1 && this.#queue.length > 0
    if (!mayHedge) return overs.length === 1 ? (overs[0] as (typeof overs)[0]) : Promise.race(overs)
    let timer: NodeJS.Timeout | undefined
    const slow = new Promise<'slow'>(resolve => {
      void newest.sent.then(() => {
        timer = setTimeout(resolve, hedgeDelayMs, 'slow')
      })
    })
    try {
      return await Promise.race([...overs, slow])
    } finally {
      clearTimeout(timer)
      timer = undefined
    }
  }

  #take<Answer extends { kind: string }>(
    { target, refund }: Try<Answer>,
    { replica, attempt }: Extract<Outcome<Answer>, { kind: 'good' }>,
  ): Replica<Good<Answer>> {
    const node = this.#options.nodes.stateOf(target)
    this.#current = { target, node, attempt, progress: false }
    this.#report.node = target.node
    const current = this.#current
    replica.exchange.onOver(() => {
      refund()
      if (replica.exchange.ended) node.breaker.succeeded()
      else if (current.attempt.outcome === 'ok') node.breaker.gaveUp()
    })
    return replica
  }

  /** Ends an attempt that lost: its connection closes, and nothing is held against its node. */
  #cancel<Answer>({ abort, over, refund, target }: Try<Answer>): void {
    abort.abort()
    over.then(
      ([, outcome]) => {
        refund()
        if (outcome.kind !== 'good') return
        outcome.replica.exchange.destroy()
        outcome.attempt.outcome = 'cancelled'
        this.#options.nodes.stateOf(target).breaker.gaveUp()
      },
      () => refund(),
    )
  }

  #failed(err: unknown): 'failed' {
    if (!(err instanceof UpstreamError)) throw err
    if (this.#job.cancel.aborted) throw new ClientGone('the client has left', { cause: err })
    this.#spoil(err.kind)
    return 'failed'
  }

  /** The attempt that looked good at its head was not. */
  #spoil(why: string): void {
    const current = this.#current
    if (!current) return
    const { attempt, node, target, progress } = current
    attempt.outcome = `body ${why}`
    node.breaker.failed()
    this.#options.metrics.attempts.inc({ node: node.name, outcome: 'body' })
    this.#options.metrics.failover('body')
    this.#current = undefined
    // A long body may outlive several failures of each node: those that failed before this one did its
    // part are worth another try.
    if (progress) this.#queue.push(...this.#asked.splice(0))
    this.#asked.push(target)
  }
}
