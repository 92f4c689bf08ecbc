/** Requests to storage nodes: only to addresses that are allowed, and to nothing a node points at. */
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { UpstreamError, type Exchange } from './exchange.ts'
import type { UpstreamPool } from './pool.ts'
import type { ResponseHead } from './response-parser.ts'
import type { AllowList, Target } from './targets.ts'
import type { TrackerTargets } from './tracker-targets.ts'

export interface NodeRequest {
  readonly target: Target
  readonly method: 'GET' | 'HEAD'
  /** A complete Range field line, or nothing. */
  readonly range: string
  readonly signal: AbortSignal
}

export interface Nodes {
  /** True when the target is listed, if need be after asking the trackers for their newest list. */
  allowed(target: Target): Promise<boolean>
  /** Asks a node and waits for its final head. Throws UpstreamError. */
  ask(request: NodeRequest): Promise<{ exchange: Exchange; head: ResponseHead }>
}

export interface NodesOptions {
  readonly pool: UpstreamPool
  readonly allowList: AllowList
  readonly trackerTargets: TrackerTargets
  readonly connectTimeoutMs: number
  readonly firstByteTimeoutMs: number
}

/** Creates the way to the storage nodes. */
export function createNodes(options: NodesOptions): Nodes {
  const { pool, allowList, trackerTargets, connectTimeoutMs, firstByteTimeoutMs } = options
  const listed = (target: Target): boolean =>
    allowList.allows(target) || trackerTargets.current().allows(target)

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

  return {
    async allowed(target) {
      if (listed(target)) return true
      await trackerTargets.refresh()
      return listed(target)
    },
    async ask({ target, method, range, signal }) {
      const peer = { host: await addressOf(target), port: target.port }
      const head = `${method} ${target.path} HTTP/1.1\r\nHost: ${target.authority}\r\n${range}\r\n`
      return pool.request({ peer, method, head, connectTimeoutMs, signal }, firstByteTimeoutMs)
    },
  }
}
