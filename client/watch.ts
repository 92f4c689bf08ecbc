/** A watchdog over a peer: aborts what it guards when the peer stays silent while it owes something. */
export interface Watch {
  /** Aborts when `stop`, `start` or `close` has not been called within `ms`, or with the outer signal. */
  readonly signal: AbortSignal
  /** Begins a wait for the peer. */
  start(ms: number): void
  /** Ends the wait. */
  stop(): void
  /** Ends the watch for good; the outer signal no longer reaches `signal`. */
  close(): void
}

/** Creates a watch that is not waiting yet. It also aborts, with the same reason, when `outer` does. */
export function createWatch(outer?: AbortSignal): Watch {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const onOuter = (): void => controller.abort(outer?.reason)
  if (outer?.aborted) onOuter()
  // Not AbortSignal.any: under a long-lived signal its dependants pile up.
  else outer?.addEventListener('abort', onOuter, { once: true })
  const stop = (): void => clearTimeout(timer)
  return {
    signal: controller.signal,
    start(ms) {
      stop()
      if (closed) return
      timer = setTimeout(() => controller.abort(new Error(`nothing for ${Math.round(ms)} ms`)), ms)
    },
    stop,
    close() {
      closed = true
      stop()
      outer?.removeEventListener('abort', onOuter)
    },
  }
}
