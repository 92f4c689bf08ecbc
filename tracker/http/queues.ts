/** The queues, and how many files there are, over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { FileCounts, QueueList, StuckList, StuckQuery } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { className } from '../commands/lookup.ts'
import { queues, stuckJobs } from '../commands/queues.ts'
import { fileCounts } from '../commands/tally.ts'
import { domainName } from './json.ts'

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
  app.get(
    '/stats',
    {
      schema: {
        tags,
        summary: 'How many files there are by class, copies and device, as last counted',
        response: { 200: FileCounts, ...errors },
      },
    },
    async () => {
      const counted = await fileCounts(ctx)
      if (!counted) return { highestFid: 0, classes: [], devices: [] }
      const { countedAt, counts } = counted
      return {
        countedAt: countedAt.toISOString(),
        highestFid: counts.highestFid,
        devices: [...counts.devices],
        classes: counts.classes.map(({ domainId, classId, ...row }) => ({
          ...row,
          domain: domainName(ctx, domainId),
          class: className(ctx, domainId, classId),
        })),
      }
    },
  )
}
