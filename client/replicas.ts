/**
 * Choosing the replica to read one content from. All replicas of a fid are equal bytes, so a read
 * that breaks off goes on from another one at the exact offset.
 */
import { CodedError, isCoded } from '../common/errors.ts'
import type { Located } from '../common/protocol/files.ts'
import type { OpenReplica, Reader } from './reader.ts'
import type { ReplicaReports } from './replica-reports.ts'

/** The bytes from `start` up to and without `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

export interface ReplicasOptions {
  readonly reader: Reader
  readonly located: Located
  /** Asks the tracker again: replicas move, and signed URLs expire. */
  readonly locate: () => Promise<Located>
  /** Told of replicas that are missing, or have other bytes. */
  readonly reports: ReplicaReports
  readonly signal: AbortSignal
}

export interface Replicas {
  /**
   * Opens the next replica that can be read at this range, which is not empty. When all have failed
   * the tracker is asked once more, and again only after bytes have come. Throws no_replica with all
   * causes, also when the key has another content by now.
   */
  open(range: Range): Promise<OpenReplica>
  /** The replica that was opened last has given bytes. */
  gaveBytes(): void
  /** Why the replica that was opened last did not go on. */
  failed(error: unknown): void
  /** The bytes given so far were wrong: begins anew without the replicas that gave them. */
  rejectUsed(): void
}

/** Begins with the replica that `located` names first; opens nothing yet. */
export function createReplicas({
  reader,
  located,
  locate,
  reports,
  signal,
}: ReplicasOptions): Replicas {
  let { urls } = located
  let next = 0
  let mayLocate = true
  let current = ''
  const used = new Set<string>()
  const rejected = new Set<string>()
  const failures: unknown[] = []

  async function openOne(url: string, { start, end }: Range): Promise<OpenReplica> {
    const whole = start === 0 && end === located.size
    const part = whole ? {} : { offset: start, length: end - start }
    const replica = await reader.open(url, { ...part, signal })
    if (replica.size === located.size) return replica
    replica.close()
    reports.report(url, 'size')
    throw new CodedError(
      'size_mismatch',
      `a replica has ${replica.size} bytes, not ${located.size}`,
    )
  }

  return {
    async open(range) {
      for (;;) {
        for (let url = urls[next++]; url !== undefined; url = urls[next++]) {
          current = replicaId(url)
          if (rejected.has(current)) continue
          try {
            return await openOne(url, range)
          } catch (err) {
            signal.throwIfAborted()
            if (isCoded(err, 'not_found')) reports.report(url, 'missing')
            failures.push(err)
          }
        }
        const fresh = mayLocate ? await locate() : undefined
        if (fresh?.fid !== located.fid) throw noReplica(located, failures)
        mayLocate = false
        ;({ urls } = fresh)
        next = 0
      }
    },
    gaveBytes() {
      mayLocate = true
      used.add(current)
    },
    failed: error => void failures.push(error),
    rejectUsed() {
      for (const id of used) {
        rejected.add(id)
        reports.report(id, 'digest')
      }
      used.clear()
      next = 0
    },
  }
}

/** A replica's name, which stays the same when its URL is signed anew. */
const replicaId = (url: string): string => url.split('?', 1)[0] ?? url

function noReplica({ key, urls }: Located, failures: readonly unknown[]): CodedError {
  const last = failures.at(-1)
  const why = last instanceof Error ? `: ${last.message}` : ''
  const message = `none of ${urls.length} replicas of ${JSON.stringify(key)} can be read${why}`
  return new CodedError('no_replica', message, {
    cause: new AggregateError(failures, 'what each replica failed with'),
  })
}
