/**
 * The HTTP server of trackers and storage nodes: fastify with our limits and errors, one log line for
 * each request, `/health` and `/metrics`.
 */
import { randomUUID } from 'node:crypto'
import fastify, {
  LogController,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client'
import { CodedError, isCoded } from './errors.ts'
import { errorBody } from './http-error.ts'
import { answerClientError, guardRequests } from './http-guard.ts'
import type { Logger } from './log.ts'

export { errorBody } from './http-error.ts'

export interface HttpOptions {
  readonly log: Logger
  /** Prefix of the metrics: `tracker`, `storage_node`. */
  readonly name: string
  /** Throws when a request may not see `/metrics`; absent: every request may. */
  readonly metricsAccess?: (request: FastifyRequest) => Promise<void>
  /** For a server of several processes: returns what `/metrics` shows, given the metrics of this one. */
  readonly shareMetrics?: ((own: Registry) => () => Promise<string>) | undefined
  /** Other options of fastify. They win over ours. */
  readonly fastify?: FastifyServerOptions
}

export interface HttpServer {
  readonly app: FastifyInstance
  readonly metrics: Registry
}

/** The limits of `docs/reliability.md`. Timeouts that fastify would set by itself are 0. */
const limits = {
  bodyLimit: 1024 * 1024,
  keepAliveTimeout: 75_000,
  connectionTimeout: 0,
  requestTimeout: 0,
  headersTimeout: 10_000,
  maxHeaderSize: 32 * 1024,
  /** Milliseconds after which a connection is closed on which the client neither sends nor reads. */
  idleTimeout: 75_000,
}

/** Creates the server. It does not listen yet. */
export function createServer({
  log,
  name,
  metricsAccess,
  shareMetrics,
  fastify: options,
}: HttpOptions): HttpServer {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyLimit,
    keepAliveTimeout: limits.keepAliveTimeout,
    requestTimeout: limits.requestTimeout,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, _request, reply) => {
      const body = errorBody(error)
      void (reply as FastifyReply).code(body.statusCode).send(body)
    },
    genReqId: request => {
      const given = request.headers['x-request-id']
      return typeof given === 'string' && /^[\w.:-]{8,128}$/.test(given) ? given : randomUUID()
    },
    ...options,
    http: {
      maxHeaderSize: limits.maxHeaderSize,
      connectionsCheckingInterval: 2_000,
      noDelay: true,
      // Checked in http-guard.ts, which does not ask HTTP/1.0 for it.
      requireHostHeader: false,
      ...(options as { http?: object } | undefined)?.http,
    },
  } as FastifyServerOptions) as FastifyInstance
  app.server.headersTimeout = limits.headersTimeout
  app.server.setTimeout(limits.idleTimeout)
  endWithAnswers(app)
  guardRequests(app)

  app.setErrorHandler((error: FastifyError | CodedError, request, reply) => {
    const body = errorBody(error)
    if (body.statusCode >= 500 && !isCoded(error))
      request.log.error({ err: error }, 'request failed')
    reply.header('cache-control', 'no-store')
    if (body.statusCode === 503 || body.statusCode === 429) reply.header('retry-after', '1')
    if (body.statusCode === 401) reply.header('www-authenticate', 'Bearer')
    return reply.code(body.statusCode).send(body)
  })
  const methodsOf = trackRoutes(app)
  app.setNotFoundHandler((request, reply) => {
    const methods = methodsOf(request.url)
    if (methods.length === 0) throw new CodedError('not_found', 'there is no such resource')
    reply.header('allow', methods.join(', '))
    throw new CodedError('method_not_allowed', `${request.method} is not possible here`)
  })

  const metrics = new Registry()
  collectDefaultMetrics({ register: metrics })
  const requests = new Counter({
    name: `${name}_requests_total`,
    help: 'Finished requests',
    labelNames: ['method', 'code'],
    registers: [metrics],
  })
  const seconds = new Histogram({
    name: `${name}_request_seconds`,
    help: 'Time from the request to the end of its answer',
    registers: [metrics],
  })
  app.addHook('onResponse', (request, reply, done) => {
    const ms = reply.elapsedTime
    requests.inc({ method: request.method, code: String(reply.statusCode) })
    seconds.observe(ms / 1000)
    request.log.info(
      {
        method: request.method,
        // A query may hold a signature.
        path: request.originalUrl.split('?', 1)[0],
        status: reply.statusCode,
        ms: Math.round(ms * 10) / 10,
      },
      'request',
    )
    done()
  })
  app.get('/health', () => ({ status: 'ok' }))
  const tell = shareMetrics?.(metrics) ?? (() => metrics.metrics())
  app.get('/metrics', metricsAccess ? { onRequest: metricsAccess } : {}, async (_request, reply) =>
    reply.type(metrics.contentType).send(await tell()),
  )
  return { app, metrics }
}

/** Once the server closes, each connection is closed after its current answer. Otherwise it would stay open. */
function endWithAnswers(app: FastifyInstance): void {
  let isClosing = false
  app.addHook('preClose', done => {
    isClosing = true
    done()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done(null, payload)
  })
  app.addHook('onResponse', (_request, _reply, done) => {
    // Answers that are written past fastify have no such field.
    if (isClosing) setImmediate(() => app.server.closeIdleConnections())
    done()
  })
}

/** Records the routes that are added. The returned function gives the methods of the path of a URL. */
function trackRoutes(app: FastifyInstance): (url: string) => string[] {
  const routes: { pattern: RegExp; methods: string[] }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const path = url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')
    routes.push({ pattern: new RegExp(`^${path}$`), methods: [method].flat() })
  })
  return url => {
    const path = url.split('?', 1)[0] ?? ''
    const methods = routes.filter(({ pattern }) => pattern.test(path)).flatMap(r => r.methods)
    return [...new Set(methods)].sort()
  }
}
