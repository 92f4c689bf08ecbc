/**
 * Has a device that failed take writes again once it can be written to, ever less often tried. No
 * flush that failed is tried again: each test is a file of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../common/log.ts'

export interface RecoveryOptions {
  /** Milliseconds until the first test. */
  readonly firstMs: number
  /** Writes to the device; rejects when that cannot be done. */
  readonly test: (devid: number) => Promise<void>
  /** Called when enough tests in a row have succeeded. */
  readonly onMended: (devid: number) => void
  readonly log: Logger
}

export interface Recovery {
  /** Tests a device until it can be written to; asked again meanwhile, it does nothing more. */
  readonly watch: (devid: number) => void
  /** Ends all tests, and waits for those under way. */
  readonly close: () => Promise<void>
}

/** Milliseconds until the first test of a device that failed. */
export const defaultFirstMs = 15_000

/** Tests that must succeed in a row, the pause between them a third of the first. */
const tests = 3
/** Pauses double up to so many times the first. */
const longest = 20
/** Milliseconds: a device that fails again within them gets a longer pause than it had before. */
const relapseMs = 3600_000

/** Creates one that watches nothing. */
export function createRecovery({ firstMs, test, onMended, log }: RecoveryOptions): Recovery {
  const closing = new AbortController()
  const watched = new Map<number, Promise<void>>()
  const mended = new Map<number, { readonly at: number; readonly pauseMs: number }>()
  const longer = (pauseMs: number): number => Math.min(2 * pauseMs, longest * firstMs)

  const watch = async (devid: number): Promise<void> => {
    const last = mended.get(devid)
    const isRelapse = last !== undefined && performance.now() - last.at < relapseMs
    let pauseMs = isRelapse ? longer(last.pauseMs) : firstMs
    for (let succeeded = 0; succeeded < tests;) {
      const ms = succeeded === 0 ? pauseMs : firstMs / 3
      await sleep(ms, undefined, { signal: closing.signal, ref: false })
      try {
        await test(devid)
        succeeded++
      } catch (err) {
        succeeded = 0
        pauseMs = longer(pauseMs)
        log.warn({ err, devid, ms: pauseMs }, 'failed device cannot be written to yet')
      }
    }
    mended.set(devid, { at: performance.now(), pauseMs })
    // It may fail again at once, and is then to be watched anew.
    watched.delete(devid)
    onMended(devid)
  }

  return {
    watch(devid) {
      if (watched.has(devid) || closing.signal.aborted) return
      const watching = watch(devid).catch((err: unknown) => {
        if (!closing.signal.aborted) throw err
      })
      watched.set(devid, watching)
    },
    async close() {
      closing.abort()
      await Promise.all(watched.values())
    },
  }
}
