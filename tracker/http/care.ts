/** Emptying devices, scrubbing, what is damaged, and the audit trail, over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { keyToJson } from '../../common/keys.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import {
  AuditQuery,
  AuditTrail,
  DamageList,
  DrainList,
  FidQuery,
  NewScrub,
  ScrubInfo,
  SweepList,
} from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { auditTrail } from '../commands/audit.ts'
import {
  drainDevice,
  drainHost,
  drainProgress,
  undrainDevice,
  undrainHost,
} from '../commands/drains.ts'
import { className } from '../commands/lookup.ts'
import { beginScrub, damagedFiles, endScrub, scrubs, sweeps } from '../commands/scrub.ts'
import type { ScrubRow } from '../store/scrub.ts'
import { callerOf } from './auth.ts'
import { domainName } from './json.ts'

const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const done = { 204: Type.Null(), ...errors }
const DeviceParams = Type.Object({ devid: Type.Integer() })
const HostParams = Type.Object({ host: Type.String() })
const ScrubParams = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2147483647 }) })

interface Options {
  readonly ctx: Context
}

export const careRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  await app.register(drainRoutes, { ctx })
  await app.register(scrubRoutes, { ctx })
  app.get(
    '/audit',
    {
      schema: {
        tags: ['audit'],
        summary: 'Who did what, newest first',
        querystring: AuditQuery,
        response: { 200: AuditTrail, ...errors },
      },
    },
    async ({ query: { before = null, action = null, limit = 100, domain } }) => {
      const rows = await auditTrail(ctx, { before, action, limit, domain })
      return rows.map(
        ({ at, actor, tokenId, address, action: what, domainId, fid, key, ...row }) => ({
          at,
          actor,
          ...(tokenId !== null && { tokenId }),
          address,
          action: what,
          ...(domainId !== null && { domain: domainName(ctx, domainId) }),
          ...(fid !== null && { fid }),
          ...(key && keyToJson(key)),
          ...(row.requestId !== null && { requestId: row.requestId }),
          ...(row.detail && { detail: row.detail }),
        }),
      )
    },
  )
}

const drainRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['drain']
  app.get(
    '/drains',
    {
      schema: {
        tags,
        summary: 'Devices that are to be emptied, and how far that is',
        response: { 200: DrainList, ...errors },
      },
    },
    async () =>
      (await drainProgress(ctx)).map(({ requestedAt, lastError, ...row }) => ({
        ...row,
        host: ctx.cluster.device(row.devid)?.host.name ?? '',
        requestedAt: requestedAt.toISOString(),
        ...(lastError !== null && { lastError }),
      })),
  )
  app.post(
    '/devices/:devid/drain',
    { schema: { tags, summary: 'Empty a device', params: DeviceParams, response: done } },
    async (request, reply) => {
      await drainDevice(ctx, request.params.devid, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.delete(
    '/devices/:devid/drain',
    { schema: { tags, summary: 'Call it off', params: DeviceParams, response: done } },
    async (request, reply) => {
      await undrainDevice(ctx, request.params.devid, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.post(
    '/hosts/:host/drain',
    { schema: { tags, summary: 'Empty a host', params: HostParams, response: done } },
    async (request, reply) => {
      await drainHost(ctx, request.params.host, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.delete(
    '/hosts/:host/drain',
    { schema: { tags, summary: 'Call it off', params: HostParams, response: done } },
    async (request, reply) => {
      await undrainHost(ctx, request.params.host, callerOf(request))
      return reply.code(204).send(null)
    },
  )
}

function scrubToJson(ctx: Context, scrub: ScrubRow): ScrubInfo {
  const { domainId, classId, devid, endFid, startedAt, finishedAt, ...row } = scrub
  return {
    ...row,
    ...(domainId !== null && { domain: domainName(ctx, domainId) }),
    ...(domainId !== null && classId !== null && { class: className(ctx, domainId, classId) }),
    ...(devid !== null && { devid }),
    ...(endFid !== null && { endFid }),
    startedAt: startedAt.toISOString(),
    ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
  }
}

const scrubRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const tags = ['scrub']
  app.get(
    '/scrubs',
    { schema: { tags, response: { 200: Type.Array(ScrubInfo), ...errors } } },
    async () => (await scrubs(ctx)).map(scrub => scrubToJson(ctx, scrub)),
  )
  app.post(
    '/scrubs',
    {
      schema: {
        tags,
        summary: 'Read all replicas that there are now, or some',
        body: NewScrub,
        response: { 201: ScrubInfo, ...errors },
      },
    },
    async (request, reply) => {
      const scrub = await beginScrub(ctx, request.body, callerOf(request))
      return reply.code(201).send(scrubToJson(ctx, scrub))
    },
  )
  app.delete(
    '/scrubs/:id',
    { schema: { tags, summary: 'Call it off', params: ScrubParams, response: done } },
    async (request, reply) => {
      await endScrub(ctx, request.params.id, callerOf(request))
      return reply.code(204).send(null)
    },
  )
  app.get(
    '/sweeps',
    {
      schema: {
        tags,
        summary: 'How far the comparison of devices with the database is',
        response: { 200: SweepList, ...errors },
      },
    },
    async () =>
      (await sweeps(ctx)).map(({ startedAt, finishedAt, ...row }) => ({
        ...row,
        ...(startedAt && { startedAt: startedAt.toISOString() }),
        ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
      })),
  )
  app.get(
    '/damage',
    {
      schema: {
        tags,
        summary: 'Files that cannot be mended',
        querystring: FidQuery,
        response: { 200: DamageList, ...errors },
      },
    },
    async request => {
      const rows = await damagedFiles(ctx, { after: 0, limit: 100, ...request.query })
      return rows.map(({ domainId, key, foundAt, ...row }) => ({
        ...row,
        domain: domainName(ctx, domainId),
        ...keyToJson(key),
        foundAt: foundAt.toISOString(),
      }))
    },
  )
}
