/** What goes on in the cluster. */
import type { Context } from '../cluster/context.ts'
import { countFiles } from '../store/files.ts'
import { queueDepths, type QueueDepth } from '../store/jobs.ts'
import { countOpenUploads } from '../store/uploads.ts'

export interface Status {
  /** Exact for few, an estimate for many. */
  readonly files: number
  readonly openUploads: number
  readonly queues: { readonly replicate: QueueDepth; readonly delete: QueueDepth }
}

/** Files, open uploads and queues. */
export async function clusterStatus({ db }: Context): Promise<Status> {
  const [files, openUploads, queues] = await Promise.all([
    countFiles(db),
    countOpenUploads(db),
    queueDepths(db),
  ])
  return { files, openUploads, queues }
}
