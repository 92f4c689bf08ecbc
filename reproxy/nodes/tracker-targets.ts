/**
 * The storage nodes that the trackers know, as an allow-list that keeps itself up to date. Trackers
 * that are away change nothing: the last good list stays.
 */
import { Value } from 'typebox/value'
import { Agent, request } from 'undici'
import type { Service } from '../../common/daemon.ts'
import type { Logger } from '../../common/log.ts'
import { StorageTargets } from '../../common/protocol/status.ts'
import { AllowList } from './targets.ts'

export interface TrackerTargetsOptions {
  /** Base URLs of tracker HTTP APIs, asked in turn until one answers. */
  readonly trackers: readonly string[]
  readonly token: string | undefined
  readonly agent: Agent
  /** What is known before the first answer. */
  readonly known: AllowList
}

export interface TrackerTargets extends Service {
  /** The last good list. */
  current(): AllowList
  /** Resolves when a list fetched after the call is in place, or at once when one was asked for lately. */
  refresh(): Promise<void>
}

const refreshMs = 5_000
/** Unknown targets are named by whoever controls the application; they must not become a flood. */
const restMs = 1_000
const timeoutMs = 2_000
const maxListBytes = 4 * 1024 * 1024

/** What trackers are asked through. */
export function createTrackerAgent(): Agent {
  return new Agent({
    connect: { timeout: timeoutMs },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: maxListBytes,
  })
}

/** Creates the list; it fills when started. The agent is closed by whoever made it, before `close`. */
export function createTrackerTargets(
  { trackers, token, agent, known }: TrackerTargetsOptions,
  log: Logger,
): TrackerTargets {
  let list = known
  let running: Promise<void> | undefined
  let startedAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let reachable = true
  const stopping = new AbortController()

  async function ask(tracker: string): Promise<AllowList> {
    const response = await request(`${tracker}/v1/targets`, {
      dispatcher: agent,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (response.statusCode !== 200) {
      await response.body.dump()
      throw new Error(`the tracker answered ${response.statusCode}`)
    }
    const answer: unknown = await response.body.json()
    if (!Value.Check(StorageTargets, answer)) throw new Error('the tracker answered something else')
    const fresh = new AllowList()
    for (const target of answer.targets) {
      if (!fresh.add(target)) log.warn({ target }, 'unusable storage target')
    }
    return fresh
  }

  async function fetchList(): Promise<void> {
    for (const tracker of trackers) {
      try {
        list = await ask(tracker)
        if (!reachable) log.info({ tracker }, 'storage targets are known again')
        reachable = true
        return
      } catch (err) {
        if (stopping.signal.aborted) return
        // One line per outage, not one every few seconds.
        if (reachable) log.warn({ err, tracker }, 'cannot fetch storage targets')
      }
    }
    reachable = false
  }

  async function refresh(): Promise<void> {
    if (!running) {
      if (trackers.length === 0 || performance.now() - startedAt < restMs) return
      startedAt = performance.now()
      running = fetchList().finally(() => {
        running = undefined
      })
    }
    await running
  }

  return {
    current: () => list,
    refresh,
    async start() {
      if (trackers.length === 0) return
      // The start does not wait for trackers: a target that is not known yet asks for the list anyway.
      void refresh()
      timer = setInterval(() => void refresh(), refreshMs)
    },
    async close() {
      clearInterval(timer)
      stopping.abort()
      await running
    },
  }
}
