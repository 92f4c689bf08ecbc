/** The work that waits, as people look at it. */
import type { Context } from '../cluster/context.ts'
import {
  countQueue,
  listStuck,
  queueNames,
  type QueueName,
  type QueueRow,
  type StuckRow,
} from '../store/queues.ts'

/** How deep and how old every queue is; reads all of them. */
export function queues({
  db,
}: Pick<Context, 'db'>): Promise<(QueueRow & { readonly queue: QueueName })[]> {
  return Promise.all(queueNames.map(async queue => ({ queue, ...(await countQueue(db, queue)) })))
}

/** Jobs of a queue that were given up, by fid, from behind `after`. */
export function stuckJobs(
  { db }: Pick<Context, 'db'>,
  { queue, ...page }: { readonly queue: QueueName; readonly after: number; readonly limit: number },
): Promise<StuckRow[]> {
  return listStuck(db, queue, page)
}
