/**
 * The tracker's HTTP API as functions: one per route, with the types of `common/protocol` (times
 * are ISO 8601 texts here). Each throws the tracker's own code, or tracker_unreachable when none of
 * the trackers answered. What is retried, and why that is safe, is in `pool.ts`.
 */
import { createAdminApi, type AdminApi } from './admin.ts'
import { createBatchApi, type BatchApi } from './batch.ts'
import { createFileApi, type FileApi } from './files.ts'
import { createTrackerPool, type TrackerPool, type TrackerPoolOptions } from './pool.ts'
import { createUpkeepApi, type UpkeepApi } from './upkeep.ts'

export type { AdminApi, FileApi, UpkeepApi }
export type { CallOptions, ClassRef, FileRef, Key, ListQuery, TrashPage } from './names.ts'
export type { TrackerPoolOptions as TrackerApiOptions, TrackerRequest } from './pool.ts'

export interface TrackerApi
  extends Pick<TrackerPool, 'request' | 'close'>, FileApi, BatchApi, AdminApi, UpkeepApi {}

/** Creates the API over these trackers; opens no connection yet. Throws bad_args. */
export function createTrackerApi(options: TrackerPoolOptions): TrackerApi {
  const pool = createTrackerPool(options)
  return {
    request: pool.request,
    close: pool.close,
    ...createFileApi(pool),
    ...createBatchApi(pool),
    ...createAdminApi(pool),
    ...createUpkeepApi(pool),
  }
}
