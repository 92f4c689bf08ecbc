/** What operators look at and push when something is odd, over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { keyToJson } from '../../common/keys.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { FidList, FidQuery, FileTraces, Replicated } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { listFids, replicateNow, traceFid, type Traces } from '../commands/debug.ts'
import { statFile } from '../commands/files.ts'
import { className } from '../commands/lookup.ts'
import type { QueuedJob } from '../store/jobs.ts'
import { domainName, fileToJson, timeToJson } from './json.ts'
import { keyOf } from './raw-url.ts'

const tags = ['debugging']
const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const FidParams = Type.Object({
  fid: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
})
const DomainParams = Type.Object({ domain: Type.String() })
const KeyQuery = Type.Object({ key: Type.String({ description: 'percent-encoded' }) })

const jobToJson = ({ attempts, nextTry }: QueuedJob) => ({
  attempts,
  ...(nextTry !== null && { nextTryAt: timeToJson(nextTry) }),
})

function tracesToJson(ctx: Context, fid: number, traces: Traces): FileTraces {
  const { file, upload, replication, deletion, check, moves } = traces
  const seconds = numberSetting(ctx.cluster.snapshot, 'get_url_seconds')
  const devids = file?.devids ?? deletion?.devids ?? []
  return {
    fid,
    ...(file && { file: fileToJson(ctx, file) }),
    ...(file?.checksum && {
      checksum: {
        algorithm: file.hashtype === 2 ? 'SHA-1' : 'MD5',
        hex: file.checksum.toString('hex'),
      },
    }),
    urls: devids.flatMap(devid => {
      const options = { method: 'GET', seconds, forClient: true } as const
      const url = ctx.urls.replica({ devid, fid }, options)
      return url === undefined ? [] : { devid, url }
    }),
    ...(upload && {
      upload: {
        domain: domainName(ctx, upload.domainId),
        ...keyToJson(upload.key),
        class: className(ctx, upload.domainId, upload.classId),
        devids: upload.devids,
        expiresAt: upload.expiresAt.toISOString(),
      },
    }),
    ...(replication && { replication: jobToJson(replication) }),
    ...(deletion && { deletion: { ...jobToJson(deletion), devids: deletion.devids } }),
    ...(check && { check: jobToJson(check) }),
    moves: moves.map(move => ({ ...jobToJson(move), from: move.devid, to: move.devids })),
  }
}

export const debugRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.get(
    '/fids',
    {
      schema: {
        tags,
        summary: 'List the files of all domains by fid',
        querystring: FidQuery,
        response: { 200: FidList, ...errors },
      },
    },
    async request => {
      const files = await listFids(ctx, { after: 0, limit: 100, ...request.query })
      return files.map(file => fileToJson(ctx, file))
    },
  )
  app.get(
    '/fids/:fid',
    {
      schema: {
        tags,
        summary: 'Tell all that is known of a fid, also one that is gone',
        params: FidParams,
        response: { 200: FileTraces, ...errors },
      },
    },
    async ({ params: { fid } }) => tracesToJson(ctx, fid, await traceFid(ctx, fid)),
  )
  app.get(
    '/domains/:domain/debug',
    {
      schema: {
        tags,
        summary: "Tell all that is known of a key's content",
        params: DomainParams,
        querystring: KeyQuery,
        response: { 200: FileTraces, ...errors },
      },
    },
    async ({ params: { domain }, originalUrl }) => {
      const { fid } = await statFile(ctx, { domain, key: keyOf(originalUrl) })
      return tracesToJson(ctx, fid, await traceFid(ctx, fid))
    },
  )
  app.post(
    '/replicate-now',
    {
      schema: {
        tags,
        summary: 'Make all waiting replications due, also those that were given up',
        response: { 200: Replicated, ...errors },
      },
    },
    async () => ({ count: await replicateNow(ctx) }),
  )
  app.post(
    '/refresh',
    {
      schema: {
        tags,
        summary: 'Have this tracker read its configuration anew and look at every device',
        response: { 204: Type.Null(), ...errors },
      },
    },
    async (_request, reply) => {
      await ctx.cluster.refresh()
      await ctx.monitorRound()
      return reply.code(204).send(null)
    },
  )
}
