/**
 * What crosses the wire between SDK and tracker: the bodies of the HTTP API under `/v1`, as schemas
 * (for validation and OpenAPI) with their types beside them under the same names.
 */
import Type from 'typebox'

const closed = { additionalProperties: false } as const

const byteCount = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

const noControls = '[^\\u0000-\\u001f\\u007f]'

/** Name of a domain, class or host. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: `^${noControls}+$`,
})

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

const classFields = {
  mindevcount: Type.Integer({ minimum: 1, maximum: 255, description: 'copies of each file' }),
  replpolicy: Type.String({ maxLength: 255 }),
  hashtype: Type.Union([Type.Literal('NONE'), Type.Literal('MD5'), Type.Literal('SHA-1')]),
  ackCopies: Type.Integer({
    minimum: 1,
    maximum: 16,
    description: 'copies before create_close answers OK',
  }),
}

export const ClassInfo = Type.Object({ name: Type.String(), ...classFields })
export type ClassInfo = Type.Static<typeof ClassInfo>

export const NewClass = Type.Object(
  { name: Name, ...Type.Partial(Type.Object(classFields)).properties },
  closed,
)
export type NewClass = Type.Static<typeof NewClass>

export const ChangeClass = Type.Object(Type.Partial(Type.Object(classFields)).properties, {
  ...closed,
  minProperties: 1,
})
export type ChangeClass = Type.Static<typeof ChangeClass>

const trashSeconds = Type.Integer({
  minimum: 0,
  maximum: 366 * 86400,
  description: 'how long deleted files can be had back; 0: not at all',
})

export const DomainInfo = Type.Object({
  name: Type.String(),
  classes: Type.Array(ClassInfo),
  trashSeconds,
})
export type DomainInfo = Type.Static<typeof DomainInfo>

export const NewDomain = Type.Object({ name: Name }, closed)
export type NewDomain = Type.Static<typeof NewDomain>

export const ChangeDomain = Type.Object({ trashSeconds }, closed)
export type ChangeDomain = Type.Static<typeof ChangeDomain>

export const HostStatus = Type.Union([
  Type.Literal('alive'),
  Type.Literal('readonly'),
  Type.Literal('down'),
  Type.Literal('dead'),
])
export type HostStatus = Type.Static<typeof HostStatus>

export const DeviceStatus = Type.Union([
  Type.Literal('alive'),
  Type.Literal('readonly'),
  Type.Literal('drain'),
  Type.Literal('down'),
  Type.Literal('dead'),
])
export type DeviceStatus = Type.Static<typeof DeviceStatus>

const Port = Type.Integer({ minimum: 1, maximum: 65535 })

const hostFields = {
  status: HostStatus,
  ip: Type.String({ minLength: 1, maxLength: 255 }),
  port: Port,
  getPort: Type.Union([Port, Type.Null()]),
  altip: Type.Union([Type.String({ maxLength: 45 }), Type.Null()]),
  altmask: Type.Union([Type.String({ maxLength: 49, pattern: `^${noControls}*$` }), Type.Null()]),
  zone: Type.Union([Type.String({ maxLength: 50, pattern: `^${noControls}*$` }), Type.Null()]),
}

/** A machine with storage. `observed` is what this tracker's monitor sees. */
export const HostInfo = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  ...hostFields,
  observed: Type.Union([
    Type.Literal('reachable'),
    Type.Literal('unreachable'),
    Type.Literal('unknown'),
  ]),
})
export type HostInfo = Type.Static<typeof HostInfo>

export const NewHost = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 40, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' }),
    ...Type.Partial(Type.Object(hostFields)).properties,
    ip: hostFields.ip,
    port: hostFields.port,
  },
  closed,
)
export type NewHost = Type.Static<typeof NewHost>

export const ChangeHost = Type.Object(Type.Partial(Type.Object(hostFields)).properties, {
  ...closed,
  minProperties: 1,
})
export type ChangeHost = Type.Static<typeof ChangeHost>

/** What a node's operator gives it as its secret. */
export const HostKey = Type.Object({ host: Type.String(), secret: Type.String() })
export type HostKey = Type.Static<typeof HostKey>

/** A disk of a host. Sizes in bytes; null until the node has reported. */
export const DeviceInfo = Type.Object({
  devid: Type.Integer(),
  host: Type.String(),
  status: DeviceStatus,
  weight: Type.Integer(),
  totalBytes: Type.Union([Type.Integer(), Type.Null()]),
  usedBytes: Type.Union([Type.Integer(), Type.Null()]),
  observed: Type.Union([
    Type.Literal('writeable'),
    Type.Literal('readable'),
    Type.Literal('unreachable'),
    Type.Literal('unknown'),
  ]),
  lost: Type.Boolean({ description: 'away for so long that its copies do not count' }),
  problem: Type.Optional(
    Type.String({ description: 'why it is not as it should be, as a sentence' }),
  ),
})
export type DeviceInfo = Type.Static<typeof DeviceInfo>

export const NewDevice = Type.Object(
  {
    devid: Type.Integer({ minimum: 1, maximum: 2147483647 }),
    host: Name,
    status: Type.Optional(DeviceStatus),
    weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000000 })),
  },
  closed,
)
export type NewDevice = Type.Static<typeof NewDevice>

export const ChangeDevice = Type.Object(
  {
    status: Type.Optional(DeviceStatus),
    weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000000 })),
  },
  { ...closed, minProperties: 1 },
)
export type ChangeDevice = Type.Static<typeof ChangeDevice>

export const Settings = Type.Record(Type.String(), Type.String())
export type Settings = Type.Static<typeof Settings>

export const SettingValue = Type.Object({ value: Type.String({ maxLength: 4096 }) }, closed)
export type SettingValue = Type.Static<typeof SettingValue>

export const TokenScope = Type.Union([
  Type.Literal('admin'),
  Type.Literal('write'),
  Type.Literal('read'),
])
export type TokenScope = Type.Static<typeof TokenScope>

/** An API token. `domain` is null for `admin`, which may do everything. */
export const TokenInfo = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  scope: TokenScope,
  domain: Type.Union([Type.String(), Type.Null()]),
  createdAt: Type.String(),
})
export type TokenInfo = Type.Static<typeof TokenInfo>

export const NewToken = Type.Object(
  { name: Name, scope: TokenScope, domain: Type.Optional(Name) },
  closed,
)
export type NewToken = Type.Static<typeof NewToken>

/** The only time a token's text is shown; the tracker keeps its SHA-256. */
export const CreatedToken = Type.Object({ ...TokenInfo.properties, token: Type.String() })
export type CreatedToken = Type.Static<typeof CreatedToken>

/** Where storage nodes may be read: what a reproxy may connect to, as `HOST:PORT`. */
export const StorageTargets = Type.Object({ targets: Type.Array(Type.String()) })
export type StorageTargets = Type.Static<typeof StorageTargets>

const Queue = Type.Object({
  waiting: Type.Integer(),
  due: Type.Integer({ description: 'of them, those that could run now' }),
  lastError: Type.Optional(Type.String()),
})

export const HealingStatus = Type.Object({
  lost: Type.Array(
    Type.Object({
      devid: Type.Integer(),
      host: Type.String(),
      since: Type.String({ format: 'date-time' }),
    }),
    { description: 'devices whose files are copied anew' },
  ),
  waiting: Type.Optional(
    Type.Object(
      { devids: Type.Array(Type.Integer()), why: Type.String() },
      { description: 'devices that are away for as long, and are not treated as lost yet' },
    ),
  ),
  files: Type.Integer({ description: 'files that still have to be looked at or copied' }),
  secondsToSafe: Type.Union([Type.Integer(), Type.Null()], {
    description: 'until that is done, as fast as it went so far; null: not known yet',
  }),
})
export type HealingStatus = Type.Static<typeof HealingStatus>

export const ClusterStatus = Type.Object({
  version: Type.String(),
  hosts: Type.Array(
    Type.Object({
      ...HostInfo.properties,
      fsync: Type.Optional(
        Type.Union([Type.Literal('on'), Type.Literal('off')], {
          description:
            'off: its node says OK before the bytes are on disk; absent: it does not tell',
        }),
      ),
    }),
  ),
  devices: Type.Array(DeviceInfo),
  files: Type.Integer({ description: 'exact for few, an estimate for many' }),
  openUploads: Type.Integer(),
  queues: Type.Object({ replicate: Queue, delete: Queue }),
  healing: HealingStatus,
})
export type ClusterStatus = Type.Static<typeof ClusterStatus>

export const Empty = Type.Object({}, closed)

/** The shape of every error, fastify's own. */
export const ErrorReply = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
})
export type ErrorReply = Type.Static<typeof ErrorReply>
