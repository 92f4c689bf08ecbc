import type { Logger } from '../../common/log.ts'
import type { StorageClient } from '../../client/storage.ts'
import type { DbPool } from '../store/db.ts'
import type { FidAllocator } from '../store/fids.ts'
import type { createFileFinder } from '../store/files.ts'
import type { Commit, NewUpload } from '../store/uploads.ts'
import type { ClusterState } from './state.ts'
import type { ReplicaUrls } from './urls.ts'

/** What commands and workers work with. Made once per tracker and passed down. */
export interface Context {
  readonly db: DbPool
  readonly cluster: ClusterState
  readonly fids: FidAllocator
  /** The live file of a key. */
  readonly findFile: ReturnType<typeof createFileFinder>
  /** Opens an upload without waiting for the disk; undefined when the domain is gone. */
  readonly insertUpload: (upload: NewUpload) => Promise<Date | undefined>
  /** Commits an upload, flushed; undefined when it is not open any more. */
  readonly commitUpload: (commit: Commit) => Promise<Date | undefined>
  readonly urls: ReplicaUrls
  readonly storage: StorageClient
  /** Nodes take unsigned requests, and the line protocol hands out plain URLs. */
  readonly open: boolean
  /** Tells a worker that there is something for it now. */
  readonly wake: (worker: 'replicate' | 'delete') => void
  /** Looks at every device now; resolves after a round that began after the call. */
  readonly monitorRound: () => Promise<void>
  readonly random: () => number
  readonly log: Logger
}
