/** What operators look at and push when something is odd. */
import type { Context } from '../cluster/context.ts'
import { findFileByFid, listFilesByFid, type FileRow } from '../store/files.ts'
import {
  expediteReplications,
  findCheck,
  findDeletion,
  findReplication,
  listMoves,
  type QueuedDeletion,
  type QueuedJob,
  type QueuedMove,
} from '../store/jobs.ts'
import { findOpenUploads, type OpenUpload } from '../store/uploads.ts'

/** All that is known of one content. */
export interface Traces {
  readonly file: FileRow | undefined
  /** While it is open. */
  readonly upload: OpenUpload | undefined
  readonly replication: QueuedJob | undefined
  readonly deletion: QueuedDeletion | undefined
  readonly check: QueuedJob | undefined
  /** By a rebalance, each from another device. */
  readonly moves: readonly QueuedMove[]
}

/** What there is of a fid, in any state. */
export async function traceFid({ db }: Pick<Context, 'db'>, fid: number): Promise<Traces> {
  const [file, [upload], replication, deletion, check, moves] = await Promise.all([
    findFileByFid(db, fid),
    findOpenUploads(db, [fid]),
    findReplication(db, fid),
    findDeletion(db, fid),
    findCheck(db, fid),
    listMoves(db, fid),
  ])
  return { file, upload, replication, deletion, check, moves }
}

/** Files of all domains by their fids, ascending, from behind `after`. */
export function listFids(
  { db }: Pick<Context, 'db'>,
  range: { readonly after: number; readonly limit: number },
): Promise<FileRow[]> {
  return listFilesByFid(db, range)
}

/** Makes all waiting replications due, also those that were given up, and returns how many. */
export async function replicateNow(ctx: Pick<Context, 'db' | 'wake'>): Promise<number> {
  const count = await expediteReplications(ctx.db)
  ctx.wake('replicate')
  return count
}
