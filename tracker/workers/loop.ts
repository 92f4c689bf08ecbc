/** How background work runs: passes that claim a batch and handle it, until told to stop. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../common/log.ts'

export interface Worker {
  readonly name: string
  /** Milliseconds to rest after a pass that found nothing. */
  readonly restMs: number
  /** One batch; returns how much it did. Safe to run twice, or on two trackers at once. */
  pass(signal: AbortSignal, log: Logger): Promise<number>
}

export interface Loop {
  /** Ends the rest, if there is one, so that a pass begins now. */
  wake(): void
  /** Resolves when the last pass is over. */
  readonly done: Promise<void>
}

/** Runs passes until `signal` aborts. A pass that fails is logged and followed by a rest. */
export function startLoop(
  worker: Worker,
  { signal, log }: { signal: AbortSignal; log: Logger },
): Loop {
  const wlog = log.child({ worker: worker.name })
  let alarm = new AbortController()
  let woken = false
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      woken = false
      let did = 0 // stays 0 on failure, so a broken database is not hammered
      try {
        did = await worker.pass(signal, wlog)
      } catch (err) {
        if (!signal.aborted) wlog.error({ err }, 'pass failed')
      }
      if (did > 0 || woken) continue
      alarm = new AbortController()
      const rest = worker.restMs * (0.8 + 0.4 * Math.random())
      await sleep(rest, undefined, { signal: AbortSignal.any([signal, alarm.signal]) }).catch(
        () => {},
      )
    }
  }
  return {
    wake() {
      woken = true
      alarm.abort()
    },
    done: run(),
  }
}

/** Handles `items`, at most `limit` at a time. `work` does not reject. */
export async function forEachConcurrently<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const lane = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
}
