/** How background work runs: passes that claim a batch and handle it, until told to stop. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../common/log.ts'

export interface Worker {
  readonly name: string
  /** Most milliseconds to rest after a pass that found nothing. */
  readonly restMs: number
  /** How much of what it has claimed waits in memory for its turn, where it claims in batches. */
  readonly queued?: number
  /** One batch; returns how much it did. Safe to run twice, or on two trackers at once. */
  pass(signal: AbortSignal, log: Logger): Promise<number>
}

export interface Loop {
  /** Ends the rest, if there is one, so that a pass begins now. */
  wake(): void
  /** Begins no more passes. */
  stop(): void
  /** Resolves when the last pass is over. */
  readonly done: Promise<void>
}

/** Runs passes until it is stopped or `signal` aborts. A pass that fails is logged and followed by a rest. */
export function startLoop(
  worker: Worker,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Loop {
  const wlog = log.child({ worker: worker.name })
  let alarm = new AbortController()
  let woken = false
  let stopped = false
  const run = async (): Promise<void> => {
    while (!signal.aborted && !stopped) {
      woken = false
      let did = 0 // stays 0 on failure, so a broken database is not hammered
      try {
        did = await worker.pass(signal, wlog)
      } catch (err) {
        if (!signal.aborted) wlog.error({ err }, 'pass failed')
      }
      if (did > 0 || woken || stopped || signal.aborted) continue
      alarm = new AbortController()
      const rest = worker.restMs * (0.8 + 0.2 * Math.random())
      await sleep(rest, undefined, { signal: alarm.signal }).catch(() => {})
    }
  }
  // Not AbortSignal.any: in Node 20 a signal that lives on remembers every one made of it.
  signal.addEventListener('abort', () => alarm.abort(), { once: true })
  return {
    wake() {
      woken = true
      alarm.abort()
    },
    stop() {
      stopped = true
      alarm.abort()
    },
    done: run(),
  }
}

/** Does `work` for each of `items`, in their order, so many at once. */
export async function inLanes<Item>(
  items: readonly Item[],
  lanes: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const lane = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(lanes, items.length) }, lane))
}

interface ClaimOptions {
  /** Seconds after which the claim runs out unless it is extended. */
  readonly leaseSeconds: number
  readonly extend: () => Promise<void>
  readonly log: Logger
}

/** Does `work` and has its claim extended again and again until it is over. */
export async function whileClaimed<T>(
  work: () => Promise<T>,
  { leaseSeconds, extend, log }: ClaimOptions,
): Promise<T> {
  let extended: Promise<void> | undefined
  const extending = setInterval(
    () => {
      extended = extend().catch((err: unknown) => log.warn({ err }, 'claim not extended'))
    },
    (leaseSeconds / 3) * 1000,
  )
  try {
    return await work()
  } finally {
    clearInterval(extending)
    await extended // else it could undo what is noted of the end
  }
}

interface JobWorkerOptions<Job> {
  readonly name: string
  /** Jobs claimed at once, and handled at once. */
  readonly batch: number
  readonly concurrency: number
  readonly claim: (limit: number) => Promise<Job[]>
  readonly handle: (job: Job, signal: AbortSignal, log: Logger) => Promise<void>
}

/** A worker over leased jobs. A job that fails without a verdict falls due again when its lease ends. */
export function createJobWorker<Job extends { readonly fid: number }>({
  name,
  batch,
  concurrency,
  claim,
  handle,
}: JobWorkerOptions<Job>): Worker {
  let queued = 0
  return {
    name,
    restMs: 1_000,
    get queued() {
      return queued
    },
    async pass(signal, log) {
      const jobs = await claim(batch)
      queued += jobs.length
      await inLanes(jobs, concurrency, async job => {
        queued--
        try {
          await handle(job, signal, log)
        } catch (err) {
          if (!signal.aborted) log.error({ err, fid: job.fid }, 'job failed')
        }
      })
      return jobs.length
    },
  }
}
