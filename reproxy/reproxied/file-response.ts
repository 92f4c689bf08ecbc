/**
 * The answer made of two: status and header fields are the application's, the bytes are a replica's,
 * or those of a copy in memory or of a file of this machine.
 */
import type { BodyCache } from '../cache/body-cache.ts'
import type { Handover, SharedFetches } from '../cache/shared-fetch.ts'
import { ClientGone, type ClientSink } from '../front/client-sink.ts'
import { evaluate, isSelective, rangeApplies, validatorsOf } from '../http/conditions.ts'
import { only, valueOf, without, type Field } from '../http/headers.ts'
import { formatContentRange, parseRange, type RangeSpec } from '../http/range.ts'
import type { Target } from '../nodes/targets.ts'
import type { AccessRecord } from '../operation/access-log.ts'
import type { Cancel } from '../upstream/cancel.ts'
import { fileInMemory, serveKnown } from './known-file.ts'
import { openLocal } from './local-file.ts'
import { relay, relayFrom, type FileStart, type RelayJob, type RelayResult } from './relay.ts'
import { Replicas, type RelayOptions } from './replicas.ts'
import { toldSha256 } from './told-digest.ts'

/** Where the bytes are. */
export type FileSource =
  | { readonly kind: 'urls'; readonly targets: readonly Target[] }
  | { readonly kind: 'path'; readonly path: string }

export interface FileJob {
  /** The client's fields, as received. */
  readonly request: readonly Field[]
  readonly method: string
  readonly source: FileSource
  /** The complete length, as far as it was told. */
  readonly expectedSize: number | undefined
  /** Status and reason of the application's answer. */
  readonly status: number
  readonly reason: string | undefined
  /** The answer's fields, as far as the client may see them. */
  readonly shown: readonly Field[]
  readonly sink: ClientSink
  readonly record: AccessRecord
  readonly cancel: Cancel
}

export interface FileServices {
  readonly relay: RelayOptions
  readonly bodies: BodyCache
  readonly fetches: SharedFetches
  readonly fileRoots: readonly string[]
  readonly maxRanges: number
  /** Whole files are held to the digest that the application gives. */
  readonly verifyReads: boolean
}

/** What a 304 repeats of the fields that a 200 would have had (RFC 9110 §15.4.5). */
const notModifiedFields: ReadonlySet<string> = new Set([
  'date',
  'age',
  'etag',
  'cache-control',
  'expires',
  'vary',
  'content-location',
  'set-cookie',
  'via',
  'x-request-id',
])

const noValidators = validatorsOf([])

/** Application statuses that mean "here it is"; with any other the file is the body of that answer. */
const plainStatuses: ReadonlySet<number> = new Set([200, 204, 206])

/**
 * Serves the file. 412: a precondition fails; 404: there is no such local file; nothing was sent in
 * either case. Otherwise as `relay`. Throws ClientGone.
 */
export function serveFile(job: FileJob, services: FileServices): Promise<RelayResult | 404 | 412> {
  const { request, method, source, shown, sink } = job
  const plain = plainStatuses.has(job.status)
  const selective = plain && isSelective(request)
  const validators = selective ? validatorsOf(shown) : noValidators
  if (selective && (method === 'GET' || method === 'HEAD')) {
    const verdict = evaluate(request, validators)
    if (verdict === 412) return Promise.resolve(412)
    if (verdict === 304) return notModified(job)
  }
  const mayRange = selective && method === 'GET' && rangeApplies(request, validators)
  const relayJob: RelayJob = {
    method: method === 'HEAD' ? 'HEAD' : 'GET',
    specs: mayRange ? rangesOf(request, services.maxRanges) : undefined,
    expectedSize: job.expectedSize,
    sha256: services.verifyReads ? toldSha256(shown) : undefined,
    type: valueOf(shown, 'content-type'),
    sink,
    begin: start => sink.start(responseStart(job, start)),
  }
  if (source.kind === 'path') return serveLocal(source.path, job, relayJob, services)
  return serveTargets(source.targets, job, relayJob, services)
}

async function notModified({ sink, shown }: FileJob): Promise<'done'> {
  sink.start({ status: 304, fields: only(shown, notModifiedFields) })
  await sink.end()
  return 'done'
}

/** The ranges that are asked for; more than `most` are answered with the whole file. */
function rangesOf(request: readonly Field[], most: number): RangeSpec[] | undefined {
  const specs = parseRange(valueOf(request, 'range') ?? '')
  return specs && specs.length <= most ? specs : undefined
}

async function serveLocal(
  path: string,
  { expectedSize }: FileJob,
  relayJob: RelayJob,
  { fileRoots }: FileServices,
): Promise<RelayResult | 404> {
  const file = fileRoots.length > 0 ? await openLocal(path, fileRoots) : undefined
  if (!file) return 404
  try {
    if (expectedSize !== undefined && file.size !== expectedSize) return 404
    return await serveKnown(file, relayJob)
  } finally {
    await file.close()
  }
}

function serveTargets(
  targets: readonly Target[],
  job: FileJob,
  relayJob: RelayJob,
  services: FileServices,
): Promise<RelayResult> {
  const names = services.bodies.options.maxBytes > 0 ? namesOf(targets, services) : undefined
  return names
    ? serveNamed(names, targets, job, relayJob, services)
    : serveReplicas(targets, job, relayJob, services)
}

/** What the content is called in the cache, by those URLs only that may be asked for: else a list could name what it may not have. */
function namesOf(
  targets: readonly Target[],
  { bodies, relay: { nodes } }: FileServices,
): readonly string[] | undefined {
  const names = bodies.namesOf(targets)
  if (!names) return undefined
  const listed = targets.filter(target => nodes.listed(target))
  return listed.length === targets.length ? names : bodies.namesOf(listed)
}

function serveReplicas(
  targets: readonly Target[],
  { record, cancel }: FileJob,
  relayJob: RelayJob,
  { relay: options }: FileServices,
): Promise<RelayResult> {
  const { method } = relayJob
  return relay(relayJob, new Replicas({ targets, method, cancel }, record.relay, options))
}

/** Serves a content that may be in memory, or on its way there. */
async function serveNamed(
  names: readonly string[],
  targets: readonly Target[],
  job: FileJob,
  relayJob: RelayJob,
  services: FileServices,
): Promise<RelayResult> {
  const { expectedSize, record, cancel } = job
  const { bodies, fetches } = services
  const { metrics } = services.relay
  const body = bodies.get(names, expectedSize)
  if (body) {
    metrics.cache('body', 'hit')
    if (record.cache === 'none') record.cache = 'body-hit'
    return serveKnown(fileInMemory(body), relayJob)
  }
  metrics.cache('body', 'miss')
  const small = (expectedSize ?? 0) <= bodies.options.maxFile
  const joined =
    small && relayJob.method === 'GET' && !relayJob.specs
      ? fetches.join({ names, targets, expectedSize, sha256: relayJob.sha256, cancel })
      : undefined
  if (!joined) return serveReplicas(targets, job, relayJob, services)

  if (!joined.first && record.cache === 'none') record.cache = 'coalesced'
  const fetched = await joined.result.catch((err: unknown) => {
    if (cancel.aborted) throw new ClientGone('the client has left', { cause: err })
    throw err
  })
  if (joined.first) Object.assign(record.relay, joined.report)
  switch (fetched.kind) {
    case 'body':
      record.relay.node = fetched.node
      return serveKnown(fileInMemory(fetched.body), relayJob)
    case 'unavailable':
      return 'unavailable'
    case 'large': {
      const handover = fetched.take()
      if (!handover) return serveReplicas(targets, job, relayJob, services)
      return relayHandover(handover, relayJob, cancel, joined.first ? undefined : record)
    }
  }
}

/** Goes on with a fetch that turned out to be of a large file; from now on it is this request's. */
async function relayHandover(
  { replicas, first, report, abort }: Handover,
  job: RelayJob,
  cancel: Cancel,
  record: AccessRecord | undefined,
): Promise<RelayResult> {
  const onAbort = (): void => abort.abort()
  cancel.add(onAbort)
  if (cancel.aborted) onAbort()
  try {
    return await relayFrom(job, replicas, first)
  } finally {
    cancel.remove(onAbort)
    if (record) Object.assign(record.relay, report)
  }
}

function responseStart({ status: given, reason: givenReason, shown }: FileJob, start: FileStart) {
  const plain = plainStatuses.has(given)
  const fields = without(shown, 'content-range', 'accept-ranges')
  fields.push(['Accept-Ranges', 'bytes'])
  switch (start.kind) {
    case 'whole': {
      const status = plain ? 200 : given
      const reason = status === given ? givenReason : undefined
      return { status, reason, fields, length: start.length }
    }
    case 'part':
      fields.push(['Content-Range', formatContentRange({ ...start, kind: 'span' })])
      return { status: 206, fields, length: start.length }
    case 'parts': {
      const { contentType, length } = start
      const multipart: Field = ['Content-Type', contentType]
      return { status: 206, fields: [...without(fields, 'content-type'), multipart], length }
    }
    case 'unsatisfiable':
      if (start.size !== undefined) {
        fields.push(['Content-Range', formatContentRange({ kind: 'none', size: start.size })])
      }
      return { status: 416, fields, length: 0 }
  }
}
