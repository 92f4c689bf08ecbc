/**
 * Files over the HTTP API: the bodies of the routes for files and uploads, as schemas for validation
 * and OpenAPI. Each schema has its type beside it under the same name.
 */
import Type from 'typebox'
import { closed, keyArgument, keyFields, Name, PageLimit } from './fields.ts'

const byteCount = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

/** The user's metadata of a file: names and texts, at most 8 KiB together. */
export const Metadata = Type.Record(Type.String({ minLength: 1, maxLength: 255 }), Type.String())
export type Metadata = Type.Static<typeof Metadata>

/**
 * How many copies must be on disk before a put succeeds: `fast` one, `safe` two on different hosts,
 * `everywhere` as many as the class asks for.
 */
export const Durability = Type.Union([
  Type.Literal('fast'),
  Type.Literal('safe'),
  Type.Literal('everywhere'),
])
export type Durability = Type.Static<typeof Durability>

/** A file, as stat and list show it. Times are ISO 8601. */
export const FileInfo = Type.Object({
  domain: Type.String(),
  ...keyFields,
  fid: Type.Integer({ description: 'number of this content; every other content has another one' }),
  class: Type.String(),
  size: Type.Integer({ description: 'bytes' }),
  sha256: Type.Optional(
    Type.String({ description: 'lower-case hex; absent while it is not known' }),
  ),
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
  limit: PageLimit,
  prefix: Type.Optional(Type.String({ description: 'percent-encoded bytes' })),
  after: Type.Optional(Type.String({ description: 'percent-encoded bytes; exclusive' })),
})

/** One page of keys in byte order. `next` (percent-encoded) goes into `after` for the next page. */
export const FileList = Type.Object({
  files: Type.Array(FileInfo),
  prefixes: Type.Array(Type.Object(keyFields), {
    description: 'with a delimiter: the beginnings of keys up to it, each once',
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

/** An open upload: write to the first `copies` targets; where one fails, use a later one. */
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
      Type.Boolean({
        description: 'let the tracker make the copies that the durability still needs',
      }),
    ),
  },
  closed,
)
export type CommitUpload = Type.Static<typeof CommitUpload>

/** A committed upload. Asking again answers the same. */
export const Committed = Type.Object({
  ...FileInfo.properties,
  copies: Type.Integer({ description: 'copies that were verified when the commit succeeded' }),
  reduced: Type.Optional(
    Type.String({ description: 'why there are fewer copies than the durability asks for' }),
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

/** What to change about a file: `null` clears a field, and `metadata` is replaced as a whole. */
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
