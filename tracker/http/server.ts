/** The tracker's HTTP API, under `/v1`, described by itself at `/openapi.json`. */
import swagger from '@fastify/swagger'
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { formatAddress } from '../../common/config.ts'
import { CodedError } from '../../common/errors.ts'
import { createServer } from '../../common/http.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { ClusterStatus, StorageTargets } from '../../common/protocol/status.ts'
import { version } from '../../common/version.ts'
import type { Context } from '../cluster/context.ts'
import { clusterStatus } from '../commands/status.ts'
import { listHosts } from '../commands/hosts.ts'
import { requireAccess } from './auth.ts'
import { batchRoutes } from './batch.ts'
import { configurationRoutes } from './configuration.ts'
import { fileRoutes } from './files.ts'
import { checkJson } from './json-body.ts'
import { statusToJson } from './json.ts'
import { withoutKey } from './raw-url.ts'
import { reportRoutes } from './reports.ts'
import { trashRoutes } from './trash.ts'

/** Creates the server; it listens when told to. */
export async function createHttpFront(ctx: Context): Promise<FastifyInstance> {
  const { app } = createServer({
    log: ctx.log,
    name: 'tracker',
    metricsAccess: requireAccess(ctx, 'any'),
    fastify: { rewriteUrl: request => withoutKey(request.url ?? '/') },
  })
  // JSON is all that any route takes.
  app.removeContentTypeParser('text/plain')
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.setSchemaErrorFormatter((errors, part) => {
    const [problem] = errors
    const field = problem?.instancePath.slice(1).replaceAll('/', '.')
    const message = problem?.message ?? 'is wrong'
    const names = Object.values(problem?.params ?? {})
      .flat()
      .filter(name => !message.includes(String(name)))
      .join(', ')
    return new CodedError(
      'bad_request',
      `${part}${field ? ` ${field}` : ''} ${message}${names ? ` (${names})` : ''}`,
    )
  })
  app.addHook('onRequest', (_request, _reply, done) => {
    ctx.countRequest()
    done()
  })
  app.addHook('preValidation', async request => checkJson(request.body))
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'omgfiles tracker', version },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  await app.register(
    async api => {
      const v1 = api.withTypeProvider<TypeBoxTypeProvider>()
      const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
      v1.get(
        '/status',
        {
          onRequest: requireAccess(ctx, 'admin'),
          schema: { tags: ['cluster'], response: { 200: ClusterStatus, ...errors } },
        },
        async () => statusToJson(ctx, await clusterStatus(ctx), version),
      )
      v1.get(
        '/targets',
        {
          onRequest: requireAccess(ctx, 'any'),
          schema: {
            tags: ['cluster'],
            summary: 'Where storage nodes may be read: what a reproxy may connect to',
            response: { 200: StorageTargets, ...errors },
          },
        },
        () => ({
          targets: listHosts(ctx).flatMap(({ ip, altip, port, getPort }) =>
            [ip, altip].flatMap(host =>
              host === null ? [] : formatAddress({ host, port: getPort ?? port }),
            ),
          ),
        }),
      )
      await v1.register(fileRoutes, { ctx })
      await v1.register(batchRoutes, { ctx })
      await v1.register(trashRoutes, { ctx })
      await v1.register(reportRoutes, { ctx })
      await v1.register(configurationRoutes, { ctx })
    },
    { prefix: '/v1' },
  )
  return app
}
