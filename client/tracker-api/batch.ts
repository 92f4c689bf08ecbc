/** The batch routes of the tracker's HTTP API, as functions. */
import type { BatchDeleted, BatchLocated } from '../../common/protocol/batch.ts'
import { checkKey, keyToJson } from '../../common/keys.ts'
import type { TrackerPool } from './pool.ts'
import { bytesOf, domainPath, type CallOptions, type Key } from './names.ts'

/** Batches of up to 1000 keys of one domain; each is one request. */
export interface BatchApi {
  /** The outcome for each key, in the order of `keys`. */
  deleteBatch(
    domain: string,
    keys: readonly Key[],
    options?: CallOptions,
  ): Promise<BatchDeleted['results']>
  /** The file of each key with its URLs, in the order of `keys`. */
  locateBatch(
    domain: string,
    keys: readonly Key[],
    options?: CallOptions,
  ): Promise<BatchLocated['results']>
}

/** Creates the functions over a pool. */
export function createBatchApi({ request }: TrackerPool): BatchApi {
  async function post<T>(
    action: 'delete' | 'locate',
    domain: string,
    keys: readonly Key[],
    options?: CallOptions,
  ): Promise<T[]> {
    const names = keys.map(key => {
      const bytes = bytesOf(key)
      checkKey(bytes)
      return keyToJson(bytes)
    })
    if (names.length === 0) return []
    const path = `${domainPath(domain)}/batch/${action}`
    // Deleting a key twice does no harm, so a batch may be sent again.
    const { results } = await request<{ results: T[] }>('POST', path, {
      body: { keys: names },
      idempotent: true,
      ...options,
    })
    return results
  }
  return {
    deleteBatch: (domain, keys, options) => post('delete', domain, keys, options),
    locateBatch: (domain, keys, options) => post('locate', domain, keys, options),
  }
}
