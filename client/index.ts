/**
 * The SDK: puts, gets and names files in an omgfiles cluster. It asks a tracker where to write or
 * read and moves the bytes to and from the storage nodes itself. A put is whole or nothing and OK
 * only when its copies are on disk; a get gives exactly the bytes of one content or an error; what
 * one tracker or storage node fails at is done by another. Bodies are streamed, never collected.
 *
 * ```ts
 * import { createReadStream } from 'node:fs'
 * import { createClient, isCoded } from 'omgfiles/client'
 *
 * const files = createClient({ trackers: ['http://127.0.0.1:7002'], token, domain: 'photos' })
 * await files.put('cats/1.jpg', createReadStream('cat.jpg'), { contentType: 'image/jpeg' })
 * const file = await files.get('cats/1.jpg') // file.size, file.body, or await file.bytes()
 * for await (const { key, size } of files.list({ prefix: 'cats/' })) console.log(key, size)
 * try {
 *   await files.delete('cats/1.jpg')
 * } catch (err) {
 *   if (!isCoded(err, 'unknown_key')) throw err
 * }
 * await files.close()
 * ```
 *
 * @module omgfiles/client
 */
import type { Durability } from '../common/protocol/files.ts'
import { createFiles, type Files } from './files.ts'
import { createReader } from './reader.ts'
import { createReplicaReports } from './replica-reports.ts'
import { createStorageClient } from './storage.ts'
import { createTrackerApi, type TrackerApi } from './tracker-api/index.ts'

/** What a client needs to know. */
export interface ClientOptions {
  /** HTTP URLs of the trackers, or of a balancer before them. */
  readonly trackers: readonly string[]
  /** API token. */
  readonly token?: string
  /** Whose files its methods are about; `client.domain(name)` is about another's. */
  readonly domain: string
  /** Class of the files put; the domain's default. */
  readonly class?: string
  /** Durability of puts; `safe`. */
  readonly durability?: Durability
  /** Milliseconds for a question to the trackers with all its tries; 10,000. */
  readonly budgetMs?: number
}

/** The files of a domain, and what the connections to its cluster are for besides. */
export interface Client extends Files {
  /** The same client for another domain, on the same connections. */
  domain(name: string): Client
  /** The tracker's API, for what is not about the files of one domain. */
  readonly api: TrackerApi
  /** Ends all connections, of the clients for other domains too; what is under way fails. */
  close(): Promise<void>
}

/** Milliseconds after which a report of a bad replica is dropped. */
const reportMs = 2_000

/** Creates a client; it connects when it is used. Throws bad_args for a tracker URL that is none. */
export function createClient({ trackers, token, budgetMs, ...options }: ClientOptions): Client {
  const api = createTrackerApi({ trackers, token, budgetMs })
  // Without a limit: a put holds one connection while it waits for the next, and so may a get whose
  // reader puts.
  const storage = createStorageClient({ connectionsPerHost: Infinity })
  const reader = createReader({ storage })
  const reports = createReplicaReports(report =>
    api.reportReplica(report, { signal: AbortSignal.timeout(reportMs) }),
  )
  const clientOf = (domain: string): Client => ({
    ...createFiles({ ...options, domain, api, storage, reader, reports }),
    domain: clientOf,
    api,
    async close() {
      reader.close()
      await Promise.all([api.close(), storage.close()])
    },
  })
  return clientOf(options.domain)
}

export { CodedError, isCoded, type ErrorCode } from '../common/errors.ts'
export type * from '../common/protocol/batch.ts'
export type * from '../common/protocol/configuration.ts'
export type * from '../common/protocol/fields.ts'
export type * from '../common/protocol/files.ts'
export type * from '../common/protocol/rehearsal.ts'
export type * from '../common/protocol/status.ts'
export type * from '../common/protocol/upkeep.ts'
export type { DeletedMany, Keys } from './batches.ts'
export type { PutBody } from './body.ts'
export type { Conditions } from './conditions.ts'
export type { ReadableFile } from './download.ts'
export type { FileEntry, LocatedFile, PrefixEntry, PutResult } from './entries.ts'
export type {
  FileFields,
  Files,
  GetOptions,
  ListOptions,
  PutOptions,
  SignedGet,
  Unconditional,
} from './files.ts'
export type { FileHeaders, ReproxyHeaders } from './headers.ts'
export type { Range } from './replicas.ts'
export type { Progress } from './lanes.ts'
export type { StoredUpload, UploadTicket } from './ticket.ts'
export { createTrackerApi } from './tracker-api/index.ts'
export type {
  AdminApi,
  CallOptions,
  ClassRef,
  FileApi,
  FileRef,
  Key,
  ListQuery,
  TrackerApi,
  TrackerApiOptions,
  TrackerRequest,
  TrashPage,
  UpkeepApi,
} from './tracker-api/index.ts'
export type { BatchApi } from './tracker-api/batch.ts'
export { answerFile, type FileAnswer, type FileRequest, type Served } from './answer-file.ts'
