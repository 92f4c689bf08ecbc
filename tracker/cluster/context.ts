import type { Logger } from '../../common/log.ts'
import type { StorageClient } from '../../client/storage.ts'
import type { InnerHooks } from '../plugins/inner-hooks.ts'
import type { DbPool } from '../store/db.ts'
import type { FidAllocator } from '../store/fids.ts'
import type { Names } from '../store/names.ts'
import type { Directories } from './directories.ts'
import type { ClusterState } from './state.ts'
import type { TokenRates } from './token-rates.ts'
import type { ReplicaUrls } from './urls.ts'

/** What commands and workers work with. Made once per tracker and passed down. */
export interface Context {
  readonly db: DbPool
  readonly cluster: ClusterState
  readonly fids: FidAllocator
  readonly names: Names
  readonly urls: ReplicaUrls
  readonly storage: StorageClient
  readonly directories: Directories
  /** Nodes take unsigned requests, and the line protocol hands out plain URLs. */
  readonly open: boolean
  /** Does background work when clients leave room for it. */
  readonly politely: <T>(work: () => Promise<T>) => Promise<T>
  readonly rates: TokenRates
  /** A client has asked for something over HTTP. */
  readonly countRequest: () => void
  /** Tells a worker that there is something for it now. */
  readonly wake: (
    worker: 'replicate' | 'review' | 'upkeep' | 'delete' | 'fsck' | 'rebalance',
  ) => void
  /** Looks at every device now; resolves after a round that began after the call. */
  readonly monitorRound: () => Promise<void>
  /** What plugins have a say in; absent: nothing. */
  readonly hooks?: InnerHooks | undefined
  readonly random: () => number
  readonly log: Logger
}
