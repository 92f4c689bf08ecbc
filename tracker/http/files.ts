/** Files and uploads over HTTP. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { CodedError } from '../../common/errors.ts'
import { encodeKey, keyFromJson, keyToJson, maxKeyBytes } from '../../common/keys.ts'
import { ErrorReply } from '../../common/protocol/fields.ts'
import {
  ChangeFile,
  CommitUpload,
  Committed,
  FileInfo,
  FileList,
  ListQuery,
  Located,
  OpenedUpload,
  OpenUpload,
  RenameFile,
} from '../../common/protocol/files.ts'
import type { Context } from '../cluster/context.ts'
import { changeFile, deleteFile, listFiles, renameFile, statFile } from '../commands/files.ts'
import { abandonUpload, commitUpload, openUpload } from '../commands/uploads.ts'
import { callerOf, requireAccess } from './auth.ts'
import { committedToJson, fileToJson } from './json.ts'
import { locatedToJson } from './located.ts'
import { keyOf, queryBytes } from './raw-url.ts'

const errors = { '4xx': ErrorReply, '5xx': ErrorReply }
const DomainParams = Type.Object({ domain: Type.String() })
const KeyQuery = Type.Object({
  key: Type.Optional(
    Type.String({ description: 'the key, percent-encoded; it may also stand in the path' }),
  ),
})
const UploadParams = Type.Object({ domain: Type.String(), upload: Type.String() })
const fileRoute = { tags: ['files'], params: DomainParams, querystring: KeyQuery }
const uploadRoute = { tags: ['uploads'], params: UploadParams }

interface Options {
  readonly ctx: Context
}

export const fileRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { ctx }) => {
  const read = requireAccess(ctx, 'read')
  const write = requireAccess(ctx, 'write')

  app.get(
    '/domains/:domain/files',
    {
      onRequest: read,
      schema: {
        tags: ['files'],
        summary: 'List keys in byte order',
        params: DomainParams,
        querystring: ListQuery,
        response: { 200: FileList, ...errors },
      },
    },
    async request => {
      const bytes = (name: string): Buffer =>
        queryBytes(request.originalUrl, name) ?? Buffer.alloc(0)
      const prefix = bytes('prefix')
      const after = bytes('after')
      if (Math.max(prefix.length, after.length) > maxKeyBytes) {
        throw new CodedError('bad_request', 'prefix or after is longer than any key')
      }
      const delimiter = bytes('delimiter')
      const { files, prefixes, next } = await listFiles(ctx, {
        domain: request.params.domain,
        prefix,
        after,
        limit: request.query.limit ?? 1000,
        ...(delimiter.length > 0 ? { delimiter } : {}),
      })
      return {
        files: files.map(file => fileToJson(ctx, file)),
        prefixes: prefixes.map(keyToJson),
        ...(next ? { next: encodeKey(next) } : {}),
      }
    },
  )

  app.get(
    '/domains/:domain/files/',
    {
      onRequest: read,
      schema: { ...fileRoute, summary: 'Stat a file', response: { 200: FileInfo, ...errors } },
    },
    async request => fileToJson(ctx, await statFile(ctx, fileRef(request))),
  )

  app.patch(
    '/domains/:domain/files/',
    {
      onRequest: write,
      schema: {
        ...fileRoute,
        summary: 'Change class, content type or metadata',
        body: ChangeFile,
        response: { 200: FileInfo, ...errors },
      },
    },
    async request =>
      fileToJson(ctx, await changeFile(ctx, { ...request.body, ...fileRef(request) })),
  )

  app.delete(
    '/domains/:domain/files/',
    {
      onRequest: write,
      schema: { ...fileRoute, summary: 'Delete a file', response: { 204: Type.Null(), ...errors } },
    },
    async (request, reply) => {
      await deleteFile(ctx, fileRef(request), callerOf(request))
      return reply.code(204).send(null)
    },
  )

  for (const path of ['/domains/:domain/locations', '/domains/:domain/locations/'] as const) {
    app.get(
      path,
      {
        onRequest: read,
        schema: {
          tags: ['files'],
          summary: 'Where to read a file',
          params: DomainParams,
          querystring: KeyQuery,
          response: { 200: Located, ...errors },
        },
      },
      async request => locatedToJson(ctx, await statFile(ctx, fileRef(request))),
    )
  }

  app.post(
    '/domains/:domain/rename',
    {
      onRequest: write,
      schema: {
        tags: ['files'],
        summary: 'Give a file another key',
        params: DomainParams,
        body: RenameFile,
        response: { 200: FileInfo, ...errors },
      },
    },
    async request => {
      const { from, fromBytes, to, toBytes } = request.body
      const file = await renameFile(ctx, {
        domain: request.params.domain,
        from: keyFromJson(argument(from, fromBytes)),
        to: keyFromJson(argument(to, toBytes)),
      })
      return fileToJson(ctx, file)
    },
  )

  app.post(
    '/domains/:domain/uploads',
    {
      onRequest: write,
      schema: {
        tags: ['uploads'],
        summary: 'Open an upload: where to PUT',
        params: DomainParams,
        body: OpenUpload,
        response: { 201: OpenedUpload, ...errors },
      },
    },
    async (request, reply) => {
      const { key, keyBytes, ...rest } = request.body
      const opened = await openUpload(ctx, {
        class: '',
        durability: 'safe',
        ...rest,
        domain: request.params.domain,
        key: keyFromJson(argument(key, keyBytes)),
      })
      return reply.code(201).send({
        upload: `${opened.fid}.${opened.slot}`,
        fid: opened.fid,
        copies: opened.copies,
        targets: opened.targets.map(({ device, url }) => ({
          devid: device.devid,
          host: device.host.name,
          url,
        })),
        expiresAt: opened.expiresAt.toISOString(),
      })
    },
  )

  app.post(
    '/domains/:domain/uploads/:upload/commit',
    {
      onRequest: write,
      schema: {
        ...uploadRoute,
        summary: 'Make an upload the content of its key',
        body: CommitUpload,
        response: { 200: Committed, ...errors },
      },
    },
    async request => {
      const args = { ...request.body, ...uploadRef(request) }
      return committedToJson(ctx, await commitUpload(ctx, args, callerOf(request)))
    },
  )

  app.delete(
    '/domains/:domain/uploads/:upload',
    {
      onRequest: write,
      schema: {
        ...uploadRoute,
        summary: 'Give an upload up',
        response: { 204: Type.Null(), ...errors },
      },
    },
    async (request, reply) => {
      await abandonUpload(ctx, uploadRef(request))
      return reply.code(204).send(null)
    },
  )
}

interface Asked {
  readonly params: { readonly domain: string }
  readonly originalUrl: string
}

function fileRef({ params, originalUrl }: Asked) {
  return { domain: params.domain, key: checkedKey(keyOf(originalUrl)) }
}

function checkedKey(key: Buffer): Buffer {
  if (key.length > maxKeyBytes) throw new CodedError('key_too_long', 'the key is too long')
  return key
}

function uploadRef({ params }: { readonly params: { domain: string; upload: string } }) {
  const match = /^(\d{1,16})\.(\d{1,4})$/.exec(params.upload)
  if (!match) throw new CodedError('no_upload', 'no such upload')
  return { domain: params.domain, upload: { fid: Number(match[1]), slot: Number(match[2]) } }
}

const argument = (key: string | undefined, keyBytes: string | undefined) => ({
  ...(key === undefined ? {} : { key }),
  ...(keyBytes === undefined ? {} : { keyBytes }),
})
