/** Requests to storage nodes: only to addresses that are allowed, and to nothing a node points at. */
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cancel } from '../upstream/cancel.ts'
import { UpstreamError } from '../upstream/upstream-error.ts'
import { Gate } from '../upstream/gate.ts'
import type { OnAnswer, UpstreamPool } from '../upstream/pool.ts'
import { Breaker, type BreakerOptions } from './breaker.ts'
import type { AllowList, Target } from './targets.ts'
import type { TrackerTargets } from './tracker-targets.ts'

export interface NodeRequest {
  readonly target: Target
  readonly method: 'GET' | 'HEAD'
  /** A complete Range field line, or nothing. */
  readonly range: string
  readonly cancel: Cancel
  /** Called when the request leaves, after it may have waited for others at this node. */
  readonly onTurn: () => void
}

/** One node, as far as it has been asked lately. */
export interface NodeState {
  readonly name: string
  readonly breaker: Breaker
  readonly gate: Gate
}

export interface Nodes {
  /** True when the target is listed, as far as is known now. */
  listed(target: Target): boolean
  /** True when the target is listed, if need be after asking the trackers for their newest list. */
  allowed(target: Target): Promise<boolean>
  /** The targets in their order, those of nodes that do not work last. */
  order(targets: readonly Target[]): Target[]
  /** What is known of the node of a target. */
  stateOf(target: Target): NodeState
  /** All that is known. */
  states(): Iterable<NodeState>
  /** Asks a node and waits for its final head. */
  ask(request: NodeRequest, onAnswer: OnAnswer): void
}

export interface NodesOptions {
  readonly pool: UpstreamPool
  readonly allowList: AllowList
  readonly trackerTargets: TrackerTargets
  readonly connectTimeoutMs: number
  readonly firstByteTimeoutMs: number
  readonly maxPerNode: number
  readonly breaker: BreakerOptions
}

/** Nodes that are remembered; with more, those that are at rest are forgotten. */
const maxStates = 10_000

/** Creates the way to the storage nodes. */
export function createNodes(options: NodesOptions): Nodes {
  const { pool, allowList, trackerTargets, connectTimeoutMs, firstByteTimeoutMs } = options
  const states = new Map<string, NodeState>()
  const listed = (target: Target): boolean =>
    allowList.allows(target) || trackerTargets.current().allows(target)

  function stateOf(target: Target): NodeState {
    const name = target.node
    let state = states.get(name)
    if (!state) {
      if (states.size >= maxStates) forgetIdle()
      state = { name, breaker: new Breaker(options.breaker), gate: new Gate(options.maxPerNode) }
      states.set(name, state)
    }
    return state
  }

  function forgetIdle(): void {
    for (const [name, { gate, breaker }] of states) {
      if (gate.used === 0 && breaker.state === 'closed') states.delete(name)
    }
  }

  /** The address to dial: a listed name counts only for addresses that are listed as well. */
  async function addressOf(target: Target): Promise<string> {
    if (target.isAddress) return target.host
    const late = sleep(connectTimeoutMs, undefined, { ref: false })
    const found = await Promise.race([lookup(target.host, { all: true }).catch(() => []), late])
    const good = found?.find(
      ({ address }) =>
        allowList.allowsAddress(address, target.port) ||
        trackerTargets.current().allowsAddress(address, target.port),
    )
    if (!good) throw new UpstreamError('connect', 'the name leads to no listed address')
    return good.address
  }

  /** Sends a request that has its place at the node, and gives that back. */
  function send(
    host: string,
    gate: Gate,
    { target, method, range, cancel, onTurn }: NodeRequest,
    onAnswer: OnAnswer,
  ): void {
    onTurn()
    const peer = { host, port: target.port }
    const head = `${method} ${target.path} HTTP/1.1\r\nHost: ${target.authority}\r\n${range}\r\n`
    const request = { peer, method, head, connectTimeoutMs, cancel }
    pool.send(request, firstByteTimeoutMs, (failure, answer) => {
      if (answer) answer.exchange.onOver(() => gate.leave())
      else gate.leave()
      onAnswer(failure, answer)
    })
  }

  return {
    listed,
    stateOf,
    states: () => states.values(),
    async allowed(target) {
      if (listed(target)) return true
      await trackerTargets.refresh()
      return listed(target)
    },
    order(targets) {
      if (targets.length < 2) return [...targets]
      const ready = targets.filter(target => states.get(target.node)?.breaker.ready ?? true)
      if (ready.length === targets.length) return ready
      return [...ready, ...targets.filter(target => !ready.includes(target))]
    },
    ask(request, onAnswer) {
      const { target, cancel } = request
      const { gate } = stateOf(target)
      if (target.isAddress && gate.tryEnter()) {
        send(target.host, gate, request, onAnswer)
        return
      }
      const enter = async (): Promise<string> => {
        const host = target.isAddress ? target.host : await addressOf(target)
        if (gate.tryEnter() || (await gate.enter(cancel))) return host
        throw new UpstreamError('aborted', 'given up')
      }
      enter().then(
        host => send(host, gate, request, onAnswer),
        (err: UpstreamError) => onAnswer(err, undefined),
      )
    },
  }
}
