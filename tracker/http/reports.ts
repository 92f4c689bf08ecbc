/** Where readers, a reproxy above all, say that a replica is not what it should be. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { ReplicaReport } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { createReplicaReports } from '../commands/reports.ts'
import { requireAccess } from './auth.ts'

export const reportRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  const reports = createReplicaReports(ctx)
  app.post(
    '/reports/replica',
    {
      onRequest: requireAccess(ctx, 'any'),
      schema: {
        tags: ['files'],
        summary: 'Report a replica that is not what it should be; the file may then be checked',
        body: ReplicaReport,
        response: { 202: Type.Null(), '4xx': ErrorReply, '5xx': ErrorReply },
      },
    },
    async (request, reply) => {
      await reports.take(request.body)
      return reply.code(202).send(null)
    },
  )
}
