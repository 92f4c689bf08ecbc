/** Fetches from one node over a few connections; what finds no place waits. */
import { CodedError } from '../../common/errors.ts'
import type { Buffers } from '../writing/buffers.ts'
import { PullConnection, type Fetch } from './pull-connection.ts'

export interface PullLaneOptions {
  readonly origin: URL
  readonly buffers: Buffers
  /** Connections at most, and fetches under way on each. */
  readonly connections: number
  readonly depth: number
}

export class PullLane {
  readonly #options: PullLaneOptions
  readonly #connections = new Set<PullConnection>()
  #waiting: Fetch[] = []
  #closed = false

  constructor(options: PullLaneOptions) {
    this.#options = options
  }

  /** Fetches when there is a place. */
  ask(fetch: Fetch): void {
    this.#waiting.push(fetch)
    this.#flush()
  }

  close(): void {
    this.#closed = true
    for (const connection of this.#connections) connection.close()
    this.#failAll()
  }

  #flush(): void {
    const { connections, depth } = this.#options
    while (this.#waiting.length > 0 && !this.#closed) {
      let [best] = [...this.#connections].sort((a, b) => a.load - b.load)
      if (!best || (best.load > 0 && this.#connections.size < connections)) best = this.#connect()
      if (best.load >= depth) return
      const next = this.#waiting.shift()
      if (next) best.ask(next)
    }
  }

  #connect(): PullConnection {
    const { origin, buffers } = this.#options
    const connection: PullConnection = new PullConnection({
      origin,
      buffers,
      onRoom: () => this.#flush(),
      onEnd: unanswered => {
        this.#connections.delete(connection)
        this.#waiting.unshift(...unanswered)
        if (this.#closed) this.#failAll()
        else this.#flush()
      },
    })
    this.#connections.add(connection)
    return connection
  }

  #failAll(): void {
    for (const fetch of this.#waiting.splice(0)) {
      fetch.fail(new CodedError('source_failed', 'the source was not asked: closed'))
    }
  }
}
