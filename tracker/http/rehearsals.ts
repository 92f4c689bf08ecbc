/** Rehearsals over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { Consequences, Rehearsal } from '../../common/protocol/rehearsal.ts'
import type { Context } from '../cluster/context.ts'
import { rehearse } from '../commands/rehearsal.ts'
import { callerOf } from './auth.ts'

export const rehearsalRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.post(
    '/rehearsals',
    {
      schema: {
        tags: ['rehearsals'],
        summary: 'What a change would cost; refused as the change itself would be',
        body: Rehearsal,
        response: { 200: Consequences, '4xx': ErrorReply, '5xx': ErrorReply },
      },
    },
    request => rehearse(ctx, request.body, callerOf(request)),
  )
}
