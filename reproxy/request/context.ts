/** What is known of one request while it is served, and the ways in which serving it can end early. */
import { randomUUID } from 'node:crypto'
import { AppBusy, UploadStalled } from '../app/app.ts'
import type { ClientSink, SinkOptions } from '../front/client-sink.ts'
import type { ClientRequest } from '../front/client-request.ts'
import { valueOf, type Field } from '../http/headers.ts'
import { newAccessRecord, type AccessRecord } from '../operation/access-log.ts'
import { UpstreamError } from '../upstream/upstream-error.ts'

export interface Context {
  readonly client: ClientRequest
  readonly method: string
  /** As received. */
  readonly fields: readonly Field[]
  readonly sink: ClientSink
  readonly record: AccessRecord
  requestId: string
  bytesIn: number
}

/** Begins a request. */
export function beginContext(client: ClientRequest, options: SinkOptions): Context {
  const { method, target, version, fields } = client
  const sink = client.respond(options)
  const record = newAccessRecord(client.peer)
  const requestId = randomUUID()
  record.reqId = requestId
  record.method = method
  record.host = valueOf(fields, 'host') ?? ''
  record.target = withoutQuery(target)
  record.version = version
  record.referer = withoutQuery(valueOf(fields, 'referer') ?? '')
  record.ua = valueOf(fields, 'user-agent') ?? ''
  return { client, method, fields, sink, record, requestId, bytesIn: 0 }
}

function withoutQuery(url: string): string {
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** An answer of our own instead of the application's. */
export class OwnAnswer extends Error {
  override readonly name = 'OwnAnswer'
  readonly status: number
  /** The connection cannot be used any more. */
  readonly close: boolean
  readonly extra: readonly Field[]

  constructor(
    status: number,
    { close = false, extra = [] }: { close?: boolean; extra?: readonly Field[] } = {},
  ) {
    super(`answered ${status}`)
    this.status = status
    this.close = close
    this.extra = extra
  }
}

/** Which answer of ours a failure stands for; undefined when it is a fault of the program. */
export function ownAnswerFor(err: unknown): OwnAnswer | undefined {
  if (err instanceof OwnAnswer) return err
  if (err instanceof UploadStalled) return new OwnAnswer(408, { close: true })
  if (err instanceof AppBusy) return new OwnAnswer(503)
  if (!(err instanceof UpstreamError)) return undefined
  return new OwnAnswer(err.kind === 'timeout' ? 504 : 502)
}
