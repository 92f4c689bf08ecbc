/**
 * Files over the HTTP API: the bodies under `/v1/files` and `/v1/uploads` as schemas (for validation
 * and OpenAPI) with their types beside them under the same names.
 */
import Type from 'typebox'
import { Name, closed } from './fields.ts'

const byteCount = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

/** User metadata of a file: at most 8 KiB in all. */
export const Metadata = Type.Record(Type.String({ minLength: 1, maxLength: 255 }), Type.String())
export type Metadata = Type.Static<typeof Metadata>

/**
 * How many copies are on disk before a put is OK: `fast` one, `safe` two on different hosts,
 * `everywhere` all that the class asks for.
 */
export const Durability = Type.Union([
  Type.Literal('fast'),
  Type.Literal('safe'),
  Type.Literal('everywhere'),
])
export type Durability = Type.Static<typeof Durability>

const keyFields = {
  key: Type.String({ description: 'the key; with keyBytes present only an approximation' }),
  keyBytes: Type.Optional(
    Type.String({
      description: 'base64url; there when the key is not UTF-8',
      pattern: '^[A-Za-z0-9_-]*$',
      maxLength: 2048,
    }),
  ),
}

const keyArgument = {
  key: Type.Optional(Type.String({ maxLength: 4096 })),
  keyBytes: keyFields.keyBytes,
}

/** A file, as stat and list show it. Times are ISO 8601. */
export const FileInfo = Type.Object({
  domain: Type.String(),
  ...keyFields,
  fid: Type.Integer({ description: 'number of this content; another content has another fid' }),
  class: Type.String(),
  size: Type.Integer({ description: 'bytes' }),
  sha256: Type.Optional(Type.String({ description: 'lower-case hex; absent when not known yet' })),
  contentType: Type.Optional(Type.String()),
  metadata: Metadata,
  createdAt: Type.String(),
  modifiedAt: Type.String(),
  devids: Type.Array(Type.Integer(), { description: 'devices that hold a replica' }),
})
export type FileInfo = Type.Static<typeof FileInfo>

/** A file and where to read it, best replica first. */
export const Located = Type.Object({
  ...FileInfo.properties,
  urls: Type.Array(Type.String()),
  expiresAt: Type.String({ description: 'until when the URLs work' }),
})
export type Located = Type.Static<typeof Located>

export const ListQuery = Type.Object({
  delimiter: Type.Optional(Type.String({ minLength: 1, maxLength: 16 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  prefix: Type.Optional(Type.String({ description: 'percent-encoded bytes' })),
  after: Type.Optional(Type.String({ description: 'percent-encoded bytes; exclusive' })),
})

/** One page of keys in byte order. `next` (percent-encoded) goes into `after` for the next page. */
export const FileList = Type.Object({
  files: Type.Array(FileInfo),
  prefixes: Type.Array(Type.Object(keyFields), {
    description: 'with a delimiter: what is common up to it, each once',
  }),
  next: Type.Optional(Type.String()),
})
export type FileList = Type.Static<typeof FileList>

export const OpenUpload = Type.Object(
  {
    ...keyArgument,
    class: Type.Optional(Name),
    size: Type.Optional(Type.Integer(byteCount)),
    contentType: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    metadata: Type.Optional(Metadata),
    durability: Type.Optional(Durability),
  },
  closed,
)
export type OpenUpload = Type.Static<typeof OpenUpload>

/** An open upload: write to the first `copies` targets, take a later one where one fails. */
export const OpenedUpload = Type.Object({
  upload: Type.String({ description: 'names the upload in commit and abandon' }),
  fid: Type.Integer(),
  copies: Type.Integer(),
  targets: Type.Array(
    Type.Object({ devid: Type.Integer(), host: Type.String(), url: Type.String() }),
  ),
  expiresAt: Type.String(),
})
export type OpenedUpload = Type.Static<typeof OpenedUpload>

export const CommitUpload = Type.Object(
  {
    copies: Type.Array(
      Type.Object(
        {
          devid: Type.Integer({ minimum: 1 }),
          receipt: Type.Optional(
            Type.String({
              maxLength: 256,
              description: 'what the node answered; without one the tracker asks the node',
            }),
          ),
        },
        closed,
      ),
      { minItems: 1, maxItems: 16 },
    ),
    size: Type.Optional(Type.Integer({ ...byteCount, description: 'bytes that were sent' })),
    sha256: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
    makeCopies: Type.Optional(
      Type.Boolean({ description: 'let the tracker make the copies that durability lacks' }),
    ),
  },
  closed,
)
export type CommitUpload = Type.Static<typeof CommitUpload>

/** A committed upload. Asking again answers the same. */
export const Committed = Type.Object({
  ...FileInfo.properties,
  copies: Type.Integer({ description: 'verified copies at the moment of OK' }),
  reduced: Type.Optional(
    Type.String({ description: 'why there are fewer copies than the durability asks' }),
  ),
})
export type Committed = Type.Static<typeof Committed>

export const RenameFile = Type.Object(
  {
    from: Type.Optional(Type.String({ maxLength: 4096 })),
    fromBytes: keyFields.keyBytes,
    to: Type.Optional(Type.String({ maxLength: 4096 })),
    toBytes: keyFields.keyBytes,
  },
  closed,
)
export type RenameFile = Type.Static<typeof RenameFile>

/** What to change of a file; `null` clears. Replaces `metadata` as a whole. */
export const ChangeFile = Type.Object(
  {
    class: Type.Optional(Name),
    contentType: Type.Optional(
      Type.Union([Type.String({ minLength: 1, maxLength: 255 }), Type.Null()]),
    ),
    metadata: Type.Optional(Metadata),
  },
  { ...closed, minProperties: 1 },
)
export type ChangeFile = Type.Static<typeof ChangeFile>
