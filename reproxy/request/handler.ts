/** The life of one request: counted, checked, answered, and written down, however it ends. */
import type { Logger } from '../../common/log.ts'
import { AppBusy } from '../app/app.ts'
import { ClientGone } from '../front/client-sink.ts'
import type { ClientRequest } from '../front/client-request.ts'
import { sendOwn } from '../front/own-response.ts'
import { checkRequest } from '../front/request-check.ts'
import { hasPassed, valueOf, type Field } from '../http/headers.ts'
import type { AccessLog } from '../operation/access-log.ts'
import type { Metrics } from '../operation/metrics.ts'
import { beginContext, OwnAnswer, ownAnswerFor, type Context } from './context.ts'
import { respond } from './respond.ts'
import type { Site } from './site.ts'

export interface HandlerOptions {
  /** What serves; another one after the settings were read anew. */
  readonly site: () => Site
  readonly accessLog: () => AccessLog
  readonly metrics: Metrics
  readonly draining: () => boolean
  readonly log: Logger
}

export interface Handler {
  /** Answers a request. Never rejects. */
  serve(client: ClientRequest): Promise<void>
  /** Client requests in progress. */
  readonly inflight: number
}

/** What stands in log and metrics for a request whose client left before it had an answer. */
const leftStatus = 499

/** Creates what answers the requests of the listeners. */
export function createHandler(options: HandlerOptions): Handler {
  const { metrics, log } = options
  let inflight = 0

  function serve(context: Context, site: Site): Promise<void> {
    const { client, method, fields } = context
    const checked = checkRequest(client, site.config)
    if (checked.kind === 'bad') throw new OwnAnswer(checked.status, { close: true })
    if (client.refusal !== undefined) throw new OwnAnswer(client.refusal, { close: true })
    if (inflight > site.config.maxInflight) {
      metrics.shed('inflight')
      throw new OwnAnswer(503)
    }
    if (method === 'TRACE') throw new OwnAnswer(405)
    if (hasPassed(fields, site.viaName)) throw new OwnAnswer(508)
    const hops = method === 'OPTIONS' ? valueOf(fields, 'max-forwards') : undefined
    if (hops === '0') return answerOptions(context, site.viaName)
    return respond(context, checked, site)
  }

  /** Ends a request that was not answered as it should: with an own answer, or visibly broken. */
  async function recover(context: Context, viaName: string, err: unknown): Promise<void> {
    const { sink, record, client, method, requestId } = context
    const answer = ownAnswerFor(err)
    if (!answer && !(err instanceof ClientGone)) {
      log.error({ err, reqId: record.reqId }, 'request failed')
    }
    if (err instanceof AppBusy) metrics.shed('app-queue')
    if (client.cancel.aborted || err instanceof ClientGone) {
      record.aborted = 'client'
      sink.cut()
      return
    }
    if (sink.started) {
      record.aborted = 'upstream'
      sink.cut()
      return
    }
    const { status, close, extra } = answer ?? new OwnAnswer(500, { close: true })
    if (close) sink.closeAfter()
    const fields = [...extra, ...ownFields(viaName, requestId)]
    await sendOwn(sink, status, { method, extra: fields }).catch(() => sink.cut())
  }

  return {
    get inflight() {
      return inflight
    },
    async serve(client) {
      const { cancel } = client
      const site = options.site()
      const context = beginContext(client, {
        stallMs: site.config.clientStallTimeoutMs,
        mayKeepAlive: () => !options.draining(),
      })
      const { sink, record } = context
      const release = site.hold()
      inflight++
      try {
        await serve(context, site)
      } catch (err) {
        await recover(context, site.viaName, err)
      } finally {
        inflight--
        release()
        if (cancel.aborted && !sink.complete) record.aborted ||= 'client'
        client.discardBody()
      }
      const status = sink.status || (record.appStatus === 101 ? 101 : leftStatus)
      const { bytes, firstByteMs } = sink
      metrics.request(status, bytes, firstByteMs)
      options.accessLog().write(record, {
        status,
        bytesIn: context.bytesIn,
        bytesOut: bytes,
        ttfbMs: firstByteMs,
      })
    },
  }
}

const ownFields = (viaName: string, requestId: string): Field[] => [
  ['Via', `1.1 ${viaName}`],
  ['X-Request-Id', requestId],
]

/** RFC 9110 §7.6.2: a request that may go no further is answered here. */
async function answerOptions({ sink, requestId }: Context, viaName: string): Promise<void> {
  const allow: Field = ['Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']
  sink.start({ status: 204, fields: [allow, ...ownFields(viaName, requestId)] })
  await sink.end()
}
