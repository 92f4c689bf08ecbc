/** Deleted files that can be had back, over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { CodedError } from '../../common/errors.ts'
import { keyFromJson, keyToJson, maxKeyBytes } from '../../common/keys.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import { FileInfo } from '../../common/protocol/files.ts'
import { Purged, TrashList, TrashQuery, Undelete } from '../../common/protocol/upkeep.ts'
import type { Context } from '../cluster/context.ts'
import { className, getDomain } from '../commands/lookup.ts'
import { listDeleted, purgeTrash, undeleteFile } from '../commands/trash.ts'
import { callerOf, requireAccess } from './auth.ts'
import { fileToJson } from './json.ts'
import { queryBytes } from './raw-url.ts'

const tags = ['trash']
const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const DomainParams = Type.Object({ domain: Type.String() })

export const trashRoutes: FastifyPluginAsyncTypebox<{ readonly ctx: Context }> = async (
  app,
  { ctx },
) => {
  app.get(
    '/domains/:domain/trash',
    {
      onRequest: requireAccess(ctx, 'read'),
      schema: {
        tags,
        summary: 'List deleted files that can be restored',
        params: DomainParams,
        querystring: TrashQuery,
        response: { 200: TrashList, ...errors },
      },
    },
    async ({ params: { domain }, query: { afterFid, limit = 1000 }, originalUrl }) => {
      const bytes = (name: string): Buffer => queryBytes(originalUrl, name) ?? Buffer.alloc(0)
      const [prefix, after] = [bytes('prefix'), bytes('after')]
      if (Math.max(prefix.length, after.length) > maxKeyBytes) {
        throw new CodedError('bad_request', 'prefix or after is longer than any key')
      }
      // Without a fid, all contents of that key are left out.
      const fid = afterFid ?? (after.length > 0 ? Number.MAX_SAFE_INTEGER : 0)
      const rows = await listDeleted(ctx, { domain, prefix, after: { key: after, fid }, limit })
      const { id } = await getDomain(ctx, domain)
      return rows.map(row => ({
        ...keyToJson(row.key),
        fid: row.fid,
        class: className(ctx, id, row.classId),
        size: row.size,
        ...(row.contentType !== null && { contentType: row.contentType }),
        deletedAt: row.deletedAt.toISOString(),
        expiresAt: row.expiresAt.toISOString(),
      }))
    },
  )
  app.post(
    '/domains/:domain/undelete',
    {
      onRequest: requireAccess(ctx, 'write'),
      schema: {
        tags,
        summary: 'Have a deleted file back under its key',
        params: DomainParams,
        body: Undelete,
        response: { 200: FileInfo, ...errors },
      },
    },
    async request => {
      const { key, keyBytes, fid } = request.body
      const args = {
        domain: request.params.domain,
        key: keyFromJson({
          ...(key !== undefined && { key }),
          ...(keyBytes !== undefined && { keyBytes }),
        }),
        fid,
      }
      return fileToJson(ctx, await undeleteFile(ctx, args, callerOf(request)))
    },
  )
  app.delete(
    '/domains/:domain/trash',
    {
      onRequest: requireAccess(ctx, 'admin'),
      schema: {
        tags,
        summary: 'Empty the trash: nothing in it can be restored afterwards',
        params: DomainParams,
        response: { 200: Purged, ...errors },
      },
    },
    async request => ({
      count: await purgeTrash(ctx, request.params.domain, callerOf(request)),
    }),
  )
}
