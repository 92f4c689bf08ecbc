/** Where a test may stop the process to kill it there. */

const pauseAt = process.env['OMG_TEST_PAUSE_AT']

/**
 * Waits for ever when `OMG_TEST_PAUSE_AT` names this step, and tells the process that forked us;
 * else does nothing.
 */
export function pausePoint(step: string): Promise<void> | undefined {
  if (pauseAt !== step) return undefined
  process.send?.({ pausedAt: step })
  return new Promise(() => {})
}
