/**
 * The tracker's HTTP API as functions, one for each route, with the types of `common/protocol`. Times are
 * ISO 8601 texts. Each function throws the error of the tracker, or tracker_unreachable when no tracker
 * answers. What is retried, and why that is safe, is described in `pool.ts`.
 */
import { createAdminApi, type AdminApi } from './admin.ts'
import { createBatchApi, type BatchApi } from './batch.ts'
import { createFileApi, type FileApi } from './files.ts'
import { createTrackerPool, type TrackerPool, type TrackerPoolOptions } from './pool.ts'
import { createUpkeepApi, type UpkeepApi } from './upkeep.ts'

export type { AdminApi, FileApi, UpkeepApi }
export type { CallOptions, ClassRef, FileRef, Key, ListQuery, TrashPage } from './names.ts'
export type { TrackerPoolOptions as TrackerApiOptions, TrackerRequest } from './pool.ts'

/** All routes, and `request` for any other. */
export interface TrackerApi
  extends Pick<TrackerPool, 'request' | 'close'>, FileApi, BatchApi, AdminApi, UpkeepApi {}

/** Creates the API for these trackers. Connections are opened when they are needed. Throws bad_args. */
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
