/**
 * Who answers a request: direct mode, the application's word from last time, or the application; and
 * when that names a file or a service, those.
 */
import type { App, AppAnswer } from '../app/app.ts'
import { passResponse, passUpgrade } from '../app/pass.ts'
import { cacheForOf } from '../cache/cache-for.ts'
import type { MapEntry, MapKey } from '../cache/map-cache.ts'
import {
  forwardedFields,
  identityOf,
  responseFields,
  valueOf,
  valuesOf,
  without,
  type Field,
  type Identity,
} from '../http/headers.ts'
import type { GoodRequest } from '../front/request-check.ts'
import { parseTargets } from '../nodes/targets.ts'
import { directiveOf } from '../reproxied/directive.ts'
import { serveFile, type FileJob } from '../reproxied/file-response.ts'
import type { RelayResult } from '../reproxied/relay.ts'
import { UpstreamError } from '../upstream/upstream-error.ts'
import { OwnAnswer, type Context } from './context.ts'
import type { Site } from './site.ts'

/** What goes to an application. */
interface Forwarded {
  readonly target: string
  readonly host: string | undefined
  readonly fields: readonly Field[]
}

/** Methods that change nothing at the application (RFC 9110 §9.2.1). */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Answers a request whose head is good. Throws OwnAnswer, UpstreamError, ClientGone and others. */
export async function respond(context: Context, request: GoodRequest, site: Site): Promise<void> {
  const { method, fields, record, client } = context
  const identity = identify(context, site)
  const { host, target } = request
  if (site.direct?.covers(target)) return respondDirect(context, target, site)

  const mapKey = mayUseMap(context) ? { host, target, fields } : undefined
  const entry = mapKey && site.maps.find(mapKey)
  if (mapKey && site.config.mapCacheEntries > 0) site.metrics.cache('map', entry ? 'hit' : 'miss')
  if (mapKey && entry) {
    record.cache = 'map-hit'
    record.reproxy = 'url'
    if (await respondFromMap(context, entry, site)) return
    site.maps.remove(mapKey, entry)
    record.cache = 'none'
    record.reproxy = 'none'
  }
  const app = site.appFor(host)
  if (!app) throw new OwnAnswer(404)
  const forwarded = forward(context, identity, request, site)
  const answer = await ask(context, app, forwarded)
  if (!safeMethods.has(method) && answer.head.status < 400) site.maps.purge({ host, target })
  for (const path of valuesOf(answer.head.fields, 'x-reproxy-purge')) {
    for (const purged of path.split(/[ \t]+/)) site.maps.purge({ host, target: purged })
  }
  if (answer.head.status === 101 && client.upgrade) {
    const { exchange, head } = answer
    return passUpgrade(client, exchange, head, shownOf(context, answer, site))
  }
  await answerWith(context, answer, { site, forwarded, mapKey })
}

/** Notes who asks, and under which number. */
function identify(context: Context, { isTrusted }: Site): Identity {
  const { client, fields, record } = context
  const identity = identityOf(fields, { peer: client.peer, isTrusted }, context.requestId)
  context.requestId = identity.requestId
  record.reqId = identity.requestId
  record.client = identity.realIp
  return identity
}

function forward(
  { client, method, fields }: Context,
  identity: Identity,
  { host, target }: GoodRequest,
  { viaName, capabilities }: Site,
): Forwarded {
  const proto = 'encrypted' in client.socket ? 'https' : 'http'
  const forwarded = forwardedFields(fields, { identity, proto, host, viaName, capabilities })
  const hops = method === 'OPTIONS' ? valueOf(fields, 'max-forwards') : undefined
  return { target, host, fields: countDown(forwarded, hops) }
}

/** Takes one off Max-Forwards (RFC 9110 §7.6.2). */
function countDown(fields: readonly Field[], hops: string | undefined): readonly Field[] {
  if (hops === undefined || !/^\d{1,9}$/.test(hops)) return fields
  return [...without(fields, 'max-forwards'), ['Max-Forwards', String(Number(hops) - 1)]]
}

function ask(context: Context, app: App, forwarded: Forwarded): Promise<AppAnswer> {
  const { client, method, record } = context
  const askedAt = performance.now()
  const asked = app.ask(
    {
      target: forwarded.target,
      host: forwarded.host,
      fields: forwarded.fields,
      method,
      body: client.body && { ...client.body, count: bytes => (context.bytesIn += bytes) },
      upgrade: client.upgrade !== undefined,
      cancel: client.cancel,
    },
    name => (record.app = name),
  )
  return asked.then(answer => {
    record.appStatus = answer.head.status
    record.appMs = performance.now() - askedAt
    return answer
  })
}

const shownOf = ({ requestId }: Context, { head }: AppAnswer, { viaName }: Site): Field[] =>
  responseFields(head.fields, { viaName, requestId })

interface AnswerOptions {
  readonly site: Site
  readonly forwarded: Forwarded
  /** When the answer may be kept. */
  readonly mapKey: MapKey | undefined
}

/** Does what the answer of an application asks for. */
function answerWith(context: Context, answer: AppAnswer, options: AnswerOptions): Promise<void> {
  const { sink, record } = context
  const { site, mapKey } = options
  const { exchange, head } = answer
  const shown = shownOf(context, answer, site)
  const directive = head.status === 304 ? ({ kind: 'none' } as const) : directiveOf(head.fields)
  if (directive.kind !== 'none') record.reproxy = directive.kind
  if (directive.kind === 'none') return passResponse(sink, { exchange, head, shown })

  exchange.discard()
  if (directive.kind === 'service') return answerFrom(directive.name, context, options)
  const { status, reason } = head
  const { expectedSize } = directive
  if (directive.kind === 'file') {
    const source = { kind: 'path', path: directive.path } as const
    return serve(context, { source, expectedSize, status, reason, shown }, site).then(finish)
  }
  const { list } = directive
  const cacheFor = mapKey && (status === 200 || status === 204) && cacheForOf(head.fields)
  const targets = parseTargets(list)
  if (mapKey && cacheFor) {
    site.maps.store(mapKey, cacheFor, { targets, expectedSize, response: head.fields, shown })
  }
  const source = { kind: 'urls', targets } as const
  return serve(context, { source, expectedSize, status, reason, shown }, site).then(finish)
}

/** Has a service answer instead. */
async function answerFrom(
  name: string,
  context: Context,
  { site, forwarded }: AnswerOptions,
): Promise<void> {
  const { method, client } = context
  const service = site.service(name)
  if (!service) throw new OwnAnswer(404)
  // The first answer took the body with it.
  const bodyless = client.body === undefined || client.body.length === 0
  if ((method !== 'GET' && method !== 'HEAD') || !bodyless) throw new OwnAnswer(502)
  const next = await ask(context, service, forwarded)
  // One service handing on to another could go on for ever.
  if (directiveOf(next.head.fields).kind === 'service') {
    next.exchange.discard()
    throw new OwnAnswer(502)
  }
  await answerWith(context, next, { site, forwarded, mapKey: undefined })
}

/** Answers from what the application said before; false when none of the replicas can be had. */
async function respondFromMap(context: Context, entry: MapEntry, site: Site): Promise<boolean> {
  const { requestId } = context
  const age = Math.floor((performance.now() - entry.storedAt) / 1000)
  const shown: Field[] = [
    ...entry.fields,
    ['Age', String(age)],
    ['Via', `1.1 ${site.viaName}`],
    ['X-Request-Id', requestId],
  ]
  const { expectedSize, targets } = entry
  const source = { kind: 'urls', targets } as const
  const file = { source, expectedSize, status: 200, reason: undefined, shown }
  const served = await serve(context, file, site)
  if (served === 'unavailable') return false
  finish(served)
  return true
}

/** Only what anybody may ask for and nobody's credentials decide. */
function mayUseMap({ method, fields, client }: Context): boolean {
  return (
    (method === 'GET' || method === 'HEAD') &&
    client.body === undefined &&
    !client.upgrade &&
    valueOf(fields, 'authorization') === undefined
  )
}

async function respondDirect(context: Context, target: string, site: Site): Promise<void> {
  const { method, requestId, client, record } = context
  record.reproxy = 'direct'
  const answer = await site.direct?.answer(method, target, client.cancel)
  if (!answer || answer.kind === 'refused') {
    const status = answer?.status ?? 404
    const extra: Field[] = status === 405 ? [['Allow', 'GET, HEAD']] : []
    throw new OwnAnswer(status, { extra })
  }
  const shown: Field[] = [
    ...answer.fields,
    ['Via', `1.1 ${site.viaName}`],
    ['X-Request-Id', requestId],
  ]
  const source = { kind: 'urls', targets: parseTargets(answer.urls.join(' ')) } as const
  const { size: expectedSize } = answer
  finish(
    await serve(context, { source, expectedSize, status: 200, reason: undefined, shown }, site),
  )
}

const serve = (
  { fields, method, sink, record, client }: Context,
  file: Pick<FileJob, 'source' | 'expectedSize' | 'status' | 'reason' | 'shown'>,
  site: Site,
): ReturnType<typeof serveFile> =>
  serveFile(
    {
      source: file.source,
      expectedSize: file.expectedSize,
      status: file.status,
      reason: file.reason,
      shown: file.shown,
      request: fields,
      method,
      sink,
      record,
      cancel: client.cancel,
    },
    site.files,
  )

function finish(served: RelayResult | 404 | 412): void {
  if (served === 'unavailable') throw new OwnAnswer(503)
  if (served === 'cut') throw new UpstreamError('closed', 'no replica can go on')
  if (served !== 'done') throw new OwnAnswer(served)
}
