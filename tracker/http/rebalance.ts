/** Rebalance over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import {
  RebalancePolicyText,
  RebalanceStatus,
  RebalanceTest,
} from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import {
  rebalanceStatus,
  resetRebalance,
  setRebalancePolicy,
  startRebalance,
  stopRebalance,
  testRebalance,
  type RebalanceStatus as Status,
} from '../commands/rebalance.ts'
import { callerOf } from './auth.ts'
import { timesToJson } from './json.ts'

const tags = ['rebalance']
const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const done = { 204: Type.Null(), ...errors }
const shown = { 200: RebalanceStatus, ...errors }

const statusToJson = ({ host, policy, progress }: Status): RebalanceStatus => ({
  running: host !== undefined,
  ...(host !== undefined && { host }),
  ...(policy !== undefined && { policy }),
  ...(progress && {
    progress: {
      pending: [...progress.pending],
      ...(progress.current !== undefined && { current: progress.current }),
      completed: [...progress.completed],
      filesQueued: progress.fidsQueued,
      bytesQueued: progress.bytesQueued,
      ...timesToJson({
        startedAt: progress.timeStarted,
        stoppedAt: progress.timeStopped,
        finishedAt: progress.timeFinished,
      }),
    },
  }),
})

export const rebalanceRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.get('/rebalance', { schema: { tags, response: shown } }, async () =>
    statusToJson(await rebalanceStatus(ctx)),
  )
  app.put(
    '/rebalance/policy',
    {
      schema: {
        tags,
        summary: 'Set the policy and forget how far the last run got',
        body: RebalancePolicyText,
        response: done,
      },
    },
    async (request, reply) => {
      await setRebalancePolicy(ctx, request.body.policy, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/rebalance/test',
    {
      schema: {
        tags,
        summary: 'Tell which devices the policy selects',
        response: { 200: RebalanceTest, ...errors },
      },
    },
    () => testRebalance(ctx),
  )
  app.post(
    '/rebalance/start',
    { schema: { tags, summary: 'Begin, or go on where it was stopped', response: shown } },
    async request => {
      await startRebalance(ctx, callerOf(request))
      return statusToJson(await rebalanceStatus(ctx))
    },
  )
  app.post(
    '/rebalance/stop',
    { schema: { tags, summary: 'Queue no more moves', response: done } },
    async (request, reply) => {
      await stopRebalance(ctx, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/rebalance/reset',
    { schema: { tags, summary: 'Forget how far the last run got', response: done } },
    async (request, reply) => {
      await resetRebalance(ctx, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}
