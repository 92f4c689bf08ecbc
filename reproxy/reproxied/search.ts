/**
 * One search for a replica that answers as it should: candidates are asked one after the other, the
 * next at once when one fails, and beside one that is slow.
 */
import { ClientGone } from '../front/client-sink.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Nodes } from '../nodes/nodes.ts'
import type { ReplicaProblem, ReplicaReports } from '../../client/replica-reports.ts'
import type { RetryBudget } from '../nodes/retry-budget.ts'
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import { Cancel } from '../upstream/cancel.ts'
import type { Exchange } from '../upstream/exchange.ts'
import type { UpstreamError } from '../upstream/upstream-error.ts'
import type { Candidates } from './candidates.ts'

/** One request to a node, as the log tells it. */
export interface Attempt {
  readonly node: string
  outcome: string
  readonly ms: number
}

/** A replica that answered as it should; the rest of its body is still to be read. */
export interface Replica<Answer> {
  readonly exchange: Exchange
  readonly head: ResponseHead
  readonly answer: Answer
}

export type Good<Answer> = Exclude<Answer, { kind: 'failed' }>

/** Which replica is good, and who is told of it. */
export interface SearchEnds<Answer> {
  readonly judge: (head: ResponseHead) => Answer
  /** With the replica; undefined when there is none left, or no more may be asked. */
  readonly found: (replica: Replica<Good<Answer>> | undefined) => void
  readonly failed: (err: unknown) => void
}

/** A replica that was found, and what is still to be settled for it. */
export interface Find {
  readonly target: Target
  readonly attempt: Attempt
  readonly exchange: Exchange
}

export interface SearchOptions {
  readonly nodes: Nodes
  readonly budget: RetryBudget
  readonly reports: ReplicaReports
  readonly metrics: Metrics
  /** Milliseconds until a second node is asked beside a slow one; 0: never. */
  readonly hedgeDelayMs: number
  readonly candidates: Candidates
  readonly method: 'GET' | 'HEAD'
  /** A complete Range field line, or nothing. */
  readonly range: string
  readonly cancel: Cancel
  /** Told of each attempt that is over. */
  readonly onAttempt: (attempt: Attempt) => void
  /** A second request was made beside a slow one. */
  readonly onHedge: () => void
  /** Told of the replica that was found, before anybody else. */
  readonly onFind: (find: Find) => void
}

/** An attempt under way. */
interface Try {
  readonly target: Target
  readonly abort: Cancel
  readonly hedge: boolean
  readonly startedAt: number
  /** It has its share of the retry budget, to be given back. */
  paid: boolean
}

const problems: Readonly<Record<string, ReplicaProblem>> = {
  size: 'size',
  digest: 'digest',
  404: 'missing',
  410: 'missing',
}

export class Search<Answer extends { kind: string }> {
  readonly #options: SearchOptions
  readonly #ends: SearchEnds<Answer>
  /** At most two. */
  readonly #running: Try[] = []
  /** Until another is worth asking. */
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor(options: SearchOptions, ends: SearchEnds<Answer>) {
    this.#options = options
    this.#ends = ends
  }

  /** Begins it; who is told of its end may be told before this returns. */
  begin(): void {
    if (!this.#start()) this.#finish(undefined)
  }

  /** Begins an attempt at the next candidate; false when that is not possible. */
  #start(): boolean {
    const { candidates, nodes } = this.#options
    const next = candidates.next()
    if (!next) return false
    const { target, paid } = next
    const hedge = this.#running.length > 0
    const attempt: Try = {
      target,
      abort: new Cancel(),
      hedge,
      startedAt: performance.now(),
      paid,
    }
    this.#running.push(attempt)
    if (nodes.listed(target)) this.#ask(attempt)
    else {
      nodes.allowed(target).then(
        allowed => (allowed ? this.#ask(attempt) : this.#deny(attempt)),
        (err: unknown) => this.#break(err),
      )
    }
    return true
  }

  #ask(attempt: Try): void {
    const { nodes, method, range, cancel } = this.#options
    const { target, abort } = attempt
    if (abort.aborted || cancel.aborted) {
      this.#leave(attempt)
      if (!this.#over) this.#break(new ClientGone('the client has left'))
      return
    }
    const onAbort = (): void => abort.abort()
    cancel.add(onAbort)
    nodes.stateOf(target).breaker.begin()
    const onTurn = (): void => this.#armHedge(attempt)
    nodes.ask({ target, method, range, cancel: abort, onTurn }, (failure, answered) => {
      if (answered) answered.exchange.onOver(() => cancel.remove(onAbort))
      else cancel.remove(onAbort)
      try {
        if (answered && !abort.aborted) this.#judge(attempt, answered)
        else {
          answered?.exchange.destroy()
          this.#fail(attempt, failure)
        }
      } catch (err) {
        answered?.exchange.destroy()
        this.#break(err)
      }
    })
  }

  #judge(
    attempt: Try,
    { exchange, head }: { readonly exchange: Exchange; readonly head: ResponseHead },
  ): void {
    const { nodes, reports, metrics, candidates } = this.#options
    const { target, hedge } = attempt
    const answer = this.#ends.judge(head)
    if (answer.kind !== 'failed') {
      this.#running.splice(this.#running.indexOf(attempt), 1)
      if (this.#running.length > 0 || hedge) metrics.hedge(hedge ? 'won' : 'lost')
      const find = { target, exchange, attempt: this.#note(attempt, 'ok') }
      exchange.onOver(() => this.#refund(attempt))
      this.#options.onFind(find)
      this.#finish({ exchange, head, answer: answer as Good<Answer> })
      return
    }
    exchange.discard()
    const { why } = answer as { why?: string }
    const outcome = why === 'status' ? String(head.status) : (why ?? 'failed')
    this.#note(attempt, outcome)
    const { breaker } = nodes.stateOf(target)
    if (head.status >= 500) breaker.failed()
    else breaker.succeeded()
    const problem = problems[outcome]
    if (problem) reports.report(target.path, problem)
    else if (head.status < 500) candidates.failed(target)
    this.#goOn(attempt, 'head')
  }

  #fail(attempt: Try, failure: UpstreamError | undefined): void {
    const { nodes, candidates } = this.#options
    const { target, abort } = attempt
    const { breaker } = nodes.stateOf(target)
    const kind = abort.aborted ? 'cancelled' : (failure?.kind ?? 'failed')
    this.#note(attempt, kind)
    if (abort.aborted) breaker.gaveUp()
    else breaker.failed()
    candidates.failed(target)
    this.#goOn(attempt, kind === 'connect' ? 'connect' : 'head')
  }

  #deny(attempt: Try): void {
    const { candidates, metrics, cancel } = this.#options
    candidates.uncount()
    metrics.denied()
    this.#leave(attempt)
    const [other] = this.#running
    if (this.#over) return
    if (cancel.aborted) this.#break(new ClientGone('the client has left'))
    else if (other) this.#armHedge(other)
    else this.begin()
  }

  /** After an attempt that failed. Beside one that is slow the next is asked at once, as it would be without it. */
  #goOn(attempt: Try, phase: 'connect' | 'head'): void {
    const { metrics, cancel } = this.#options
    this.#leave(attempt)
    if (this.#over) return
    if (cancel.aborted) {
      this.#break(new ClientGone('the client has left'))
      return
    }
    if (attempt.hedge) metrics.hedge('failed')
    const [other] = this.#running
    if (this.#start()) metrics.failover(phase)
    else if (other) this.#armHedge(other)
    else this.#finish(undefined)
  }

  /** Has another node asked beside `attempt`, when that is still the only one under way by then. */
  #armHedge(attempt: Try): void {
    const { hedgeDelayMs, candidates, onHedge } = this.#options
    clearTimeout(this.#timer)
    this.#timer = undefined
    const alone = this.#running.length === 1 && this.#running[0] === attempt
    if (this.#over || hedgeDelayMs === 0 || !alone || !candidates.some) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#start()) onHedge()
      else this.#armHedge(attempt)
    }, hedgeDelayMs)
  }

  /** The attempt is over, and did not bring what was wanted. */
  #leave(attempt: Try): void {
    this.#running.splice(this.#running.indexOf(attempt), 1)
    this.#refund(attempt)
  }

  #refund(attempt: Try): void {
    if (attempt.paid) this.#options.budget.giveBack()
    attempt.paid = false
  }

  #note({ target: { node }, startedAt }: Try, outcome: string): Attempt {
    const attempt = { node, outcome, ms: Math.round(performance.now() - startedAt) }
    this.#options.metrics.attempt(node, outcome)
    this.#options.onAttempt(attempt)
    return attempt
  }

  #finish(replica: Replica<Good<Answer>> | undefined): void {
    this.#end()
    this.#ends.found(replica)
  }

  #break(err: unknown): void {
    this.#end()
    this.#ends.failed(err)
  }

  /** The attempts that lost end: their connections close, and nothing is held against their nodes. */
  #end(): void {
    this.#over = true
    clearTimeout(this.#timer)
    for (const other of this.#running.slice()) other.abort.abort()
  }
}
