/**
 * The answer made of two: status and header fields are the application's, the bytes are a replica's.
 */
import type { ClientSink } from './client-sink.ts'
import { evaluate, rangeApplies, validatorsOf } from './conditions.ts'
import { only, valueOf, without, type Directive, type Field } from './headers.ts'
import { formatContentRange, parseRange, type RangeSpec } from './range.ts'
import {
  relay,
  type FileStart,
  type RelayOptions,
  type RelayReport,
  type RelayResult,
} from './relay.ts'
import type { ResponseHead } from './response-parser.ts'
import { parseTargets } from './targets.ts'

export interface FileJob {
  /** The client's fields, as received. */
  readonly request: readonly Field[]
  readonly method: string
  readonly directive: Extract<Directive, { kind: 'url' }>
  readonly appHead: ResponseHead
  /** The application's fields, as far as the client may see them. */
  readonly shown: readonly Field[]
  readonly sink: ClientSink
  readonly signal: AbortSignal
}

/** What a 304 repeats of the fields that a 200 would have had (RFC 9110 §15.4.5). */
const notModifiedFields: ReadonlySet<string> = new Set([
  'date',
  'etag',
  'cache-control',
  'expires',
  'vary',
  'content-location',
  'set-cookie',
  'via',
  'x-request-id',
])

/** Application statuses that mean "here it is"; with any other the file is the body of that answer. */
const plainStatuses: ReadonlySet<number> = new Set([200, 204, 206])

/**
 * Serves the file an application named. 412: a precondition fails and nothing was sent. Otherwise as
 * `relay`. Throws ClientGone.
 */
export async function serveFile(
  job: FileJob,
  report: RelayReport,
  options: RelayOptions,
): Promise<RelayResult | 412> {
  const { request, method, directive, appHead, sink, signal } = job
  const plain = plainStatuses.has(appHead.status)
  const validators = validatorsOf(appHead.fields)
  if (plain && (method === 'GET' || method === 'HEAD')) {
    const verdict = evaluate(request, validators)
    if (verdict === 412) return 412
    if (verdict === 304) {
      sink.start({ status: 304, fields: only(job.shown, notModifiedFields) })
      await sink.end()
      return 'done'
    }
  }
  const mayRange = plain && method === 'GET' && rangeApplies(request, validators)
  return relay(
    {
      targets: parseTargets(directive.list),
      method: method === 'HEAD' ? 'HEAD' : 'GET',
      wanted: {
        range: mayRange ? singleRange(request) : undefined,
        expectedSize: directive.expectedSize,
      },
      sink,
      begin: start => sink.start(responseStart(job, start)),
      signal,
    },
    report,
    options,
  )
}

/** The one range that is asked for. Several are answered with the whole file, as a server may. */
function singleRange(request: readonly Field[]): RangeSpec | undefined {
  const specs = parseRange(valueOf(request, 'range') ?? '')
  return specs?.length === 1 ? specs[0] : undefined
}

function responseStart({ appHead, shown }: FileJob, start: FileStart) {
  const plain = plainStatuses.has(appHead.status)
  const fields: Field[] = [
    ...without(shown, 'content-range', 'accept-ranges'),
    ['Accept-Ranges', 'bytes'],
  ]
  switch (start.kind) {
    case 'whole': {
      const status = plain ? 200 : appHead.status
      const reason = status === appHead.status ? appHead.reason : undefined
      return { status, reason, fields, length: start.length }
    }
    case 'part':
      fields.push(['Content-Range', formatContentRange({ ...start, kind: 'span' })])
      return { status: 206, fields, length: start.length }
    case 'unsatisfiable':
      if (start.size !== undefined) {
        fields.push(['Content-Range', formatContentRange({ kind: 'none', size: start.size })])
      }
      return { status: 416, fields, length: 0 }
  }
}
