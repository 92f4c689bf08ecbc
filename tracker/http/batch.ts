/** Many files in one request. Each key is done by the command for one, and fails by itself. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { BatchDeleted, BatchKeys, BatchLocated } from '../../common/protocol/batch.ts'
import { isCoded } from '../../common/errors.ts'
import { keyFromJson } from '../../common/keys.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import type { Context } from '../cluster/context.ts'
import { deleteFile, statFile } from '../commands/files.ts'
import { callerOf, requireAccess } from './auth.ts'
import { locatedToJson } from './located.ts'

const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const batchRoute = {
  tags: ['files'],
  params: Type.Object({ domain: Type.String() }),
  body: BatchKeys,
}

interface Problem {
  readonly code: string
  readonly message: string
}

export const batchRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.post(
    '/domains/:domain/batch/delete',
    {
      onRequest: requireAccess(ctx, 'write'),
      schema: {
        ...batchRoute,
        summary: 'Delete up to 1000 files',
        response: { 200: BatchDeleted, ...errors },
      },
    },
    async request => ({
      results: await each(request.body.keys, async name => {
        const ref = { domain: request.params.domain, key: keyFromJson(name) }
        await deleteFile(ctx, ref, callerOf(request))
        return { deleted: true as const }
      }),
    }),
  )

  app.post(
    '/domains/:domain/batch/locate',
    {
      onRequest: requireAccess(ctx, 'read'),
      schema: {
        ...batchRoute,
        summary: 'Where to read up to 1000 files',
        response: { 200: BatchLocated, ...errors },
      },
    },
    async request => ({
      results: await each(request.body.keys, async name => {
        const ref = { domain: request.params.domain, key: keyFromJson(name) }
        return { file: locatedToJson(ctx, await statFile(ctx, ref)) }
      }),
    }),
  )
}

/** What is wrong with one key is its own result; what is wrong with all of them fails the request. */
const ofOneKey: ReadonlySet<string> = new Set(['no_key', 'key_too_long', 'unknown_key'])

/** All at once: the queries below are made for many keys together. */
async function each<T>(
  names: BatchKeys['keys'],
  run: (name: BatchKeys['keys'][number]) => Promise<T>,
): Promise<(T | Problem)[]> {
  // Each is waited for even when one fails, so that nothing goes on behind an answer.
  const settled = await Promise.allSettled(names.map(run))
  return settled.map(result => {
    if (result.status === 'fulfilled') return result.value
    const { reason } = result as { reason: unknown }
    if (!isCoded(reason) || !ofOneKey.has(reason.code)) throw reason
    return { code: reason.code, message: reason.message }
  })
}
