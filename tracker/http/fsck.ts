/** Fsck over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { FsckLog, FsckLogQuery, FsckStatus, ResetFsck } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import {
  beginFsck,
  clearFsckLog,
  endFsck,
  fsckLog,
  fsckStatus,
  rewindFsck,
} from '../commands/fsck.ts'
import type { FsckState } from '../store/fsck.ts'
import { callerOf } from './auth.ts'
import { timesToJson, timeToJson } from './json.ts'

const tags = ['fsck']
const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const done = { 204: Type.Null(), ...errors }

const statusToJson = (state: FsckState): FsckStatus => ({
  running: state.host !== undefined,
  ...(state.host !== undefined && { host: state.host }),
  policyOnly: state.policyOnly,
  checkedTo: state.highestFid,
  endFid: state.endFid,
  queued: state.queued,
  ...timesToJson({ startedAt: state.startTime, stoppedAt: state.stopTime }),
  now: timeToJson(state.currentTime),
  lastLogId: state.maxLogid,
  events: Object.fromEntries(state.counts),
})

export const fsckRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.get('/fsck', { schema: { tags, response: { 200: FsckStatus, ...errors } } }, async () =>
    statusToJson(await fsckStatus(ctx)),
  )
  app.post(
    '/fsck/start',
    {
      schema: {
        tags,
        summary: 'Go on where it was stopped; after a whole run, with the files that are new',
        response: done,
      },
    },
    async (request, reply) => {
      await beginFsck(ctx, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/fsck/stop',
    {
      schema: { tags, summary: 'Queue no more files; no error when stopped', response: done },
    },
    async (request, reply) => {
      await endFsck(ctx, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/fsck/reset',
    { schema: { tags, summary: 'Go back to the beginning', body: ResetFsck, response: done } },
    async (request, reply) => {
      await rewindFsck(ctx, { policyOnly: false, after: 0, ...request.body }, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.get(
    '/fsck/log',
    { schema: { tags, querystring: FsckLogQuery, response: { 200: FsckLog, ...errors } } },
    async request => {
      const rows = await fsckLog(ctx, { after: 0, limit: 100, ...request.query })
      return rows.map(({ logid, at, fid, event, devid }) => ({
        id: logid,
        at: timeToJson(at),
        fid,
        event,
        ...(devid !== null && { devid }),
      }))
    },
  )
  app.delete(
    '/fsck/log',
    { schema: { tags, summary: 'Empty the log; the counts stay', response: done } },
    async (request, reply) => {
      await clearFsckLog(ctx, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}
