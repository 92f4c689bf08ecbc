/** The way of one request: checked, put to the application, answered by it or from a replica. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Logger } from '../common/log.ts'
import { logAccess, newAccessRecord, type AccessRecord } from './access-log.ts'
import { plainAddress } from './addresses.ts'
import { UploadStalled, type App, type UploadBody } from './app.ts'
import { ClientGone, ClientSink } from './client-sink.ts'
import { UpstreamError } from './exchange.ts'
import { serveFile } from './file-response.ts'
import type { ClientRequest } from './front.ts'
import {
  directiveOf,
  fieldsOf,
  forwardedFields,
  hasPassed,
  responseFields,
  valueOf,
  without,
  type Field,
} from './headers.ts'
import { sendOwn } from './own-response.ts'
import { passResponse, passUpgrade } from './pass.ts'
import type { RelayOptions } from './relay.ts'
import { checkRequest, type HeadLimits } from './request-check.ts'

export interface HandlerOptions {
  readonly app: App
  readonly appName: string
  readonly limits: HeadLimits
  readonly relay: RelayOptions
  readonly viaName: string
  readonly isTrusted: (address: string) => boolean
  readonly maxInflight: number
  readonly clientStallTimeoutMs: number
  readonly draining: () => boolean
  readonly log: Logger
}

/** An answer of our own instead of the application's. */
class OwnAnswer extends Error {
  override readonly name = 'OwnAnswer'
  readonly status: number
  /** The connection cannot be used any more. */
  readonly close: boolean

  constructor(status: number, { close = false }: { close?: boolean } = {}) {
    super(`answered ${status}`)
    this.status = status
    this.close = close
  }
}

/** What is known of a request while it is served. */
interface Context {
  readonly client: ClientRequest
  readonly method: string
  readonly fields: readonly Field[]
  readonly sink: ClientSink
  readonly record: AccessRecord
  requestId: string
}

/** Creates what answers the requests of the listener. It never rejects. */
export function createHandler(options: HandlerOptions): (client: ClientRequest) => Promise<void> {
  const { app, viaName, log } = options
  let inflight = 0
  const ownFields = (requestId: string): Field[] => [
    ['Via', `1.1 ${viaName}`],
    ['X-Request-Id', requestId],
  ]

  return async client => {
    const { req, res, signal } = client
    const context = begin(client)
    const { sink, record } = context
    let bytesIn = 0
    inflight++
    try {
      await serve(context, bytes => (bytesIn += bytes))
    } catch (err) {
      await recover(context, err)
    } finally {
      inflight--
      if (signal.aborted && !sink.complete) record.aborted ||= 'client'
      // A body that nobody read holds up the connection.
      if (!req.complete) req.resume()
    }
    const { status, bytes, firstByteMs } = sink
    logAccess(log, record, {
      status: status || res.statusCode,
      bytesIn,
      bytesOut: bytes,
      ttfbMs: firstByteMs,
    })
  }

  function begin(client: ClientRequest): Context {
    const { req, res, socket } = client
    const fields = fieldsOf(req.rawHeaders)
    const sink = new ClientSink(res, {
      stallMs: options.clientStallTimeoutMs,
      mayKeepAlive: () => !options.draining(),
    })
    const record = newAccessRecord(plainAddress(socket.remoteAddress ?? ''))
    const requestId = randomUUID()
    record.reqId = requestId
    record.method = req.method ?? ''
    record.host = valueOf(fields, 'host') ?? ''
    record.target = pathOf(req)
    record.ua = valueOf(fields, 'user-agent') ?? ''
    record.app = options.appName
    return { client, method: req.method ?? '', fields, sink, record, requestId }
  }

  async function serve(context: Context, count: (bytes: number) => void): Promise<void> {
    const { client, method, fields, sink, record } = context
    const { req, socket, signal } = client
    const checked = checkRequest(
      { method, target: req.url ?? '', version: req.httpVersion, fields },
      options.limits,
    )
    if (checked.kind === 'bad') throw new OwnAnswer(checked.status, { close: true })
    if (client.refusal !== undefined) throw new OwnAnswer(client.refusal, { close: true })
    if (inflight > options.maxInflight) throw new OwnAnswer(503)
    if (method === 'TRACE') throw new OwnAnswer(405)
    if (hasPassed(fields, viaName)) throw new OwnAnswer(508)
    const hops = method === 'OPTIONS' ? valueOf(fields, 'max-forwards') : undefined
    if (hops === '0') return answerOptions(context)

    const peer = plainAddress(socket.remoteAddress ?? '')
    const forwarded = forwardedFields(fields, {
      sender: { peer, isTrusted: options.isTrusted, proto: 'http' },
      host: checked.host,
      viaName,
      newRequestId: () => context.requestId,
    })
    context.requestId = forwarded.requestId
    record.reqId = forwarded.requestId
    record.client = forwarded.realIp

    const askedAt = performance.now()
    const { exchange, head } = await app.ask({
      method,
      target: checked.target,
      host: checked.host,
      fields: countDown(forwarded.fields, hops),
      body: bodyOf(client, count),
      upgrade: client.upgrade !== undefined,
      signal,
    })
    record.appStatus = head.status
    record.appMs = performance.now() - askedAt

    const shown = responseFields(head.fields, { viaName, requestId: context.requestId })
    if (head.status === 101 && client.upgrade) return passUpgrade(client, exchange, head, shown)
    const directive = head.status === 304 ? ({ kind: 'none' } as const) : directiveOf(head.fields)
    record.reproxy = directive.kind
    if (directive.kind === 'none') return passResponse(sink, { exchange, head, shown })

    exchange.discard()
    if (directive.kind !== 'url') throw new OwnAnswer(404)
    const served = await serveFile(
      { request: fields, method, directive, appHead: head, shown, sink, signal },
      record.relay,
      options.relay,
    )
    if (served === 'unavailable') throw new OwnAnswer(503)
    if (served === 412) throw new OwnAnswer(412)
    if (served === 'cut') throw new UpstreamError('closed', 'no replica can go on')
  }

  /** RFC 9110 §7.6.2: a request that may go no further is answered here. */
  async function answerOptions({ sink, requestId }: Context): Promise<void> {
    const fields: Field[] = [['Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']]
    sink.start({ status: 204, fields: [...fields, ...ownFields(requestId)] })
    await sink.end()
  }

  /** Ends a request that was not answered as it should: with an own answer, or visibly broken. */
  async function recover(context: Context, err: unknown): Promise<void> {
    const { sink, record, client, method, requestId } = context
    const answer = ownAnswerFor(err)
    if (!answer && !(err instanceof ClientGone))
      log.error({ err, reqId: record.reqId }, 'request failed')
    if (client.signal.aborted || err instanceof ClientGone) {
      record.aborted = 'client'
      sink.cut()
      return
    }
    if (sink.started) {
      record.aborted = 'upstream'
      sink.cut()
      return
    }
    const { status, close } = answer ?? { status: 500, close: true }
    if (close) sink.closeAfter()
    await sendOwn(sink, status, { method, extra: ownFields(requestId) }).catch(() => sink.cut())
  }
}

/** Which answer of ours a failure stands for; undefined when it is a fault of the program. */
function ownAnswerFor(err: unknown): OwnAnswer | undefined {
  if (err instanceof OwnAnswer) return err
  if (err instanceof UploadStalled) return new OwnAnswer(408, { close: true })
  if (!(err instanceof UpstreamError)) return undefined
  return new OwnAnswer(err.kind === 'timeout' ? 504 : 502)
}

function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?', 1)[0] ?? ''
}

function bodyOf(client: ClientRequest, count: (bytes: number) => void): UploadBody | undefined {
  const { req, res, expectsContinue } = client
  const { 'content-length': length, 'transfer-encoding': coding } = req.headers
  if (length === undefined && coding === undefined) return undefined
  return {
    stream: req,
    length: length === undefined ? undefined : Number(length),
    begin: () => {
      if (expectsContinue && !res.headersSent) res.writeContinue()
    },
    count,
  }
}

/** Takes one off Max-Forwards (RFC 9110 §7.6.2). */
function countDown(fields: readonly Field[], hops: string | undefined): readonly Field[] {
  if (hops === undefined || !/^\d{1,9}$/.test(hops)) return fields
  return [...without(fields, 'max-forwards'), ['Max-Forwards', String(Number(hops) - 1)]]
}
