/**
 * The replicas of one file, for as long as one request needs them: to find one, to read it, and to
 * find another when it fails. What a failure says about its node is noted on the way.
 */
import { ClientGone } from '../front/client-sink.ts'
import type { Nodes, NodeState } from '../nodes/nodes.ts'
import type { ReplicaReports } from '../../client/replica-reports.ts'
import type { RetryBudget } from '../nodes/retry-budget.ts'
import type { Target } from '../nodes/targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import type { Cancel } from '../upstream/cancel.ts'
import type { Exchange } from '../upstream/exchange.ts'
import { UpstreamError } from '../upstream/upstream-error.ts'
import type { Taker } from '../upstream/pump.ts'
import { Candidates } from './candidates.ts'
import {
  Search,
  type Attempt,
  type Find,
  type Good,
  type Replica,
  type SearchEnds,
} from './search.ts'

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

/** The replica whose body is being read. */
interface Current {
  readonly target: Target
  readonly node: NodeState
  readonly attempt: Attempt
  /** Its body has brought something. */
  progress: boolean
}

export class Replicas {
  readonly #job: ReplicaJob
  readonly #report: RelayReport
  readonly #options: RelayOptions
  readonly #candidates: Candidates
  #current: Current | undefined

  constructor(job: ReplicaJob, report: RelayReport, options: RelayOptions) {
    this.#job = job
    this.#report = report
    this.#options = options
    const { nodes, budget, metrics } = options
    const most = options.maxAttempts - report.attempts.length
    this.#candidates = new Candidates(nodes.order(job.targets), { budget, metrics, most })
  }

  /**
   * The next replica whose answer `judge` accepts; undefined when there is none left, or no more may
   * be asked. Throws ClientGone.
   */
  next<Answer extends { kind: string }>(
    range: string,
    judge: SearchEnds<Answer>['judge'],
  ): Promise<Replica<Good<Answer>> | undefined> {
    return new Promise((found, failed) => this.search(range, { judge, found, failed }))
  }

  /**
   * The same with callbacks, because nearly every request comes through here, and promises cost more
   * than the rest: `found` is called while the answer is read, before any byte of its body.
   */
  search<Answer extends { kind: string }>(range: string, ends: SearchEnds<Answer>): void {
    const { nodes, budget, reports, metrics, hedgeDelayMs } = this.#options
    const { method, cancel } = this.#job
    const report = this.#report
    report.node = ''
    this.#candidates.begin()
    const search = new Search(
      {
        nodes,
        budget,
        reports,
        metrics,
        hedgeDelayMs,
        candidates: this.#candidates,
        method,
        range,
        cancel,
        onAttempt: attempt => report.attempts.push(attempt),
        onHedge: () => {
          report.hedged = true
        },
        onFind: find => this.#take(find),
      },
      ends,
    )
    search.begin()
  }

  /**
   * Gives a body to `taker` until it is done or the body has ended; `failed` once its node has. Throws
   * ClientGone, and what the taker throws.
   */
  pump(exchange: Exchange, taker: Taker): Promise<void | 'failed'> {
    return exchange.pump(taker, this.#options.stallTimeoutMs).catch((err: unknown) => {
      exchange.destroy() // where it was the taker that failed
      return this.#failed(err)
    })
  }

  /** The body has brought something. */
  progressed(): void {
    if (this.#current) this.#current.progress = true
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
    if (this.#current) this.#options.reports.report(this.#current.target.path, 'short')
    this.#spoil('short')
  }

  /** The whole body has come, and is not what the application said. */
  wrong(): void {
    const current = this.#current
    if (!current) return
    current.attempt.outcome = 'body digest'
    this.#options.reports.report(current.target.path, 'digest')
    this.#options.metrics.failover('body')
    this.#current = undefined
  }

  /** The body goes on at the replica that came last. */
  resumed(): void {
    this.#report.resumed++
  }

  /** Another part of the file is wanted: its first request is no repetition, and begins where the last one went well. */
  another(): void {
    this.#candidates.another(this.#current?.target)
  }

  /** From now on the body of this one is read. */
  #take({ target, attempt, exchange }: Find): void {
    const node = this.#options.nodes.stateOf(target)
    this.#current = { target, node, attempt, progress: false }
    this.#report.node = target.node
    exchange.onOver(() => {
      if (exchange.ended) node.breaker.succeeded()
      else if (attempt.outcome === 'ok') node.breaker.gaveUp()
    })
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
    this.#options.metrics.attempt(node.name, 'body')
    this.#options.metrics.failover('body')
    this.#current = undefined
    this.#candidates.brokeOff(target, progress)
  }
}
