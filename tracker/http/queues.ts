/** The queues over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { QueueList, StuckList, StuckQuery } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { queues, stuckJobs } from '../commands/queues.ts'

const tags = ['debugging']
const errors = { '4xx': ErrorReply, '5xx': ErrorReply }

export const queueRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.get(
    '/queues',
    {
      schema: {
        tags,
        summary: 'How deep and how old the queues are; reads all of them',
        response: { 200: QueueList, ...errors },
      },
    },
    async () =>
      (await queues(ctx)).map(
        ({ oldestAt, lastError, underMinute, underHour, underDay, older, ...row }) => ({
          ...row,
          ages: { underMinute, underHour, underDay, older },
          ...(oldestAt && { oldestAt: oldestAt.toISOString() }),
          ...(lastError !== null && { lastError }),
        }),
      ),
  )
  app.get(
    '/queues/stuck',
    {
      schema: {
        tags,
        summary: 'What was given up and waits for a person, by fid',
        querystring: StuckQuery,
        response: { 200: StuckList, ...errors },
      },
    },
    async ({ query }) => {
      const rows = await stuckJobs(ctx, { after: 0, limit: 100, ...query })
      return rows.map(({ queuedAt, lastError, ...row }) => ({
        ...row,
        queuedAt: queuedAt.toISOString(),
        ...(lastError !== null && { lastError }),
      }))
    },
  )
}
