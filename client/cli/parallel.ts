/** Work on many items, a few at a time. */

/**
 * Calls `work` for each item, for at most `concurrency` of them at once. After the first failure, or
 * once `signal` is aborted, no more are started. Those under way are waited for before it throws.
 */
export async function eachOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  { concurrency, signal }: { readonly concurrency: number; readonly signal: AbortSignal },
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = []
  const running = new Set<Promise<void>>()
  try {
    for await (const item of items) {
      signal.throwIfAborted()
      if (failures.length > 0) break
      const job: Promise<void> = work(item)
        .catch((err: unknown) => void failures.push(err))
        .finally(() => running.delete(job))
      running.add(job)
      if (running.size >= concurrency) await Promise.race(running)
    }
  } finally {
    await Promise.all(running)
  }
  if (failures.length > 0) throw failures[0]
}
