/** Deleting and locating many files: keys of any number, handled a batch at a time. */
import { CodedError, isErrorCode } from '../common/errors.ts'
import { maxBatchKeys } from '../common/keys.ts'
import { toLocated, type FileEntry, type LocatedFile } from './entries.ts'
import type { CallOptions, Key, TrackerApi } from './tracker-api/index.ts'

/** Keys, or files as a listing yields them. */
export type Keys = Iterable<Key | FileEntry> | AsyncIterable<Key | FileEntry>

/** What became of many deletions. */
export interface DeletedMany {
  /** Files that were there and are gone. */
  readonly deleted: number
  /** Keys that stood for no file, or were deleted by an earlier try of this very call. */
  readonly missing: number
}

/** Bytes of keys after which a batch is sent: the tracker takes 1 MiB of JSON, which escapes may fill. */
const maxBatchBytes = 128 * 1024

/**
 * Deletes what `keys` yields, a batch at a time, so that memory stays flat however many there are.
 * When it throws, the batches before are done, and the one at fault may be.
 */
export async function deleteMany(
  api: TrackerApi,
  domain: string,
  { keys, ...options }: { readonly keys: Keys } & CallOptions,
): Promise<DeletedMany> {
  let deleted = 0
  let missing = 0
  for await (const batch of batchesOf(keys)) {
    for (const result of await api.deleteBatch(domain, batch, options)) {
      if ('deleted' in result) deleted++
      else if (result.code === 'unknown_key') missing++
      else throw toError(result)
    }
  }
  return { deleted, missing }
}

/** Where many files can be read, in the order of `keys`; undefined for one that is not there. */
export async function* locateMany(
  api: TrackerApi,
  domain: string,
  { keys, ...options }: { readonly keys: Keys } & CallOptions,
): AsyncGenerator<LocatedFile | undefined, void, undefined> {
  for await (const batch of batchesOf(keys)) {
    for (const result of await api.locateBatch(domain, batch, options)) {
      if ('file' in result) yield toLocated(result.file)
      else if (result.code === 'unknown_key') yield undefined
      else throw toError(result)
    }
  }
}

const toError = ({ code, message }: { code: string; message: string }): CodedError =>
  new CodedError(isErrorCode(code) ? code : 'failure', message)

async function* batchesOf(keys: Keys): AsyncGenerator<Key[], void, undefined> {
  if (typeof keys === 'string' || keys instanceof Uint8Array) {
    throw new CodedError('bad_args', 'one key is given where several are expected')
  }
  let batch: Key[] = []
  let bytes = 0
  for await (const item of keys) {
    const key = keyOf(item)
    batch.push(key)
    bytes += typeof key === 'string' ? Buffer.byteLength(key) : key.length
    if (batch.length < maxBatchKeys && bytes < maxBatchBytes) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

const keyOf = (item: Key | FileEntry): Key =>
  typeof item === 'string' || item instanceof Uint8Array ? item : (item.keyBytes ?? item.key)
