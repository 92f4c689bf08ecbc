/** The web server under the photo application: its safety headers, its errors, no body parsing. */
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { CodedError } from '../../common/errors.ts'
import { errorBody } from '../../common/http.ts'
import type { Logger } from '../../common/log.ts'
import { checkSameOrigin } from './requests.ts'

const safetyHeaders = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
}

/** Creates the server. Bodies are left in `request.raw` for the handlers to stream on. */
export function createWebServer(log: Logger): FastifyInstance {
  const app = fastify({
    loggerInstance: log as FastifyBaseLogger,
    // The reproxy logs the requests.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _body, done) => done(null))
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(safetyHeaders)
    if (request.method !== 'GET' && request.method !== 'HEAD') checkSameOrigin(request)
  })
  app.setErrorHandler((err, request, reply) => {
    const body = errorBody(err)
    // A browser that left in mid-upload is nothing to report.
    if (body.statusCode === 500 && !request.socket.destroyed) log.error({ err }, 'request failed')
    return reply.code(body.statusCode).send(body)
  })
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(errorBody(new CodedError('not_found', 'there is no such page'))),
  )
  return app
}
