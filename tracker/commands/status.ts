/** What goes on in the cluster. */
import type { Context } from '../cluster/context.ts'
import { estimateFiles } from '../store/files.ts'
import { queueDepths, type QueueDepth } from '../store/jobs.ts'
import { countOpenUploads } from '../store/uploads.ts'

export interface Status {
  /** An estimate. */
  readonly files: number
  readonly openUploads: number
  readonly queues: { readonly replicate: QueueDepth; readonly delete: QueueDepth }
}

/** Files, open uploads and queues. */
export async function clusterStatus({ db }: Context): Promise<Status> {
  const [files, openUploads, queues] = await Promise.all([
    estimateFiles(db),
    countOpenUploads(db),
    queueDepths(db),
  ])
  return { files: Math.max(0, files), openUploads, queues }
}
