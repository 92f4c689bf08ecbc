/** Fsck, rebalance and a look at single files, over the HTTP API. */
import Type from 'typebox'
import { FileInfo } from './files.ts'

const closed = { additionalProperties: false } as const
const fidRange = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const
const Time = Type.Optional(Type.String({ description: 'ISO 8601; absent: not yet' }))

export const FsckStatus = Type.Object({
  running: Type.Boolean(),
  host: Type.Optional(Type.String({ description: 'the machine of the tracker that started it' })),
  policyOnly: Type.Boolean({
    description: 'only number and place of the copies are judged, no copy is looked at',
  }),
  checkedTo: Type.Integer({ description: 'files up to this fid have been queued' }),
  endFid: Type.Integer({ description: 'the last one to look at' }),
  queued: Type.Integer({ description: 'files queued since the start' }),
  startedAt: Time,
  stoppedAt: Time,
  now: Type.String({ description: "ISO 8601, by the database's clock" }),
  lastLogId: Type.Integer(),
  events: Type.Record(Type.String(), Type.Integer(), {
    description: "how often each of MogileFS's event codes was seen since the start or reset",
  }),
})
export type FsckStatus = Type.Static<typeof FsckStatus>

export const ResetFsck = Type.Object(
  {
    policyOnly: Type.Optional(Type.Boolean()),
    after: Type.Optional(
      Type.Integer({ ...fidRange, description: 'leave out files up to this fid; 0: none' }),
    ),
  },
  closed,
)
export type ResetFsck = Type.Static<typeof ResetFsck>

export const FsckLogQuery = Type.Object({
  after: Type.Optional(Type.Integer({ ...fidRange, description: 'id of the last entry seen' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
})
export type FsckLogQuery = Type.Static<typeof FsckLogQuery>

/** What fsck found, oldest first. The last `id` goes into `after` for what follows. */
export const FsckLog = Type.Array(
  Type.Object({
    id: Type.Integer(),
    at: Type.String({ description: 'ISO 8601' }),
    fid: Type.Integer(),
    event: Type.String({ description: "MogileFS's event code" }),
    devid: Type.Optional(Type.Integer()),
  }),
)
export type FsckLog = Type.Static<typeof FsckLog>

export const RebalancePolicyText = Type.Object(
  {
    policy: Type.String({
      maxLength: 4096,
      description: "MogileFS's words: from_devices=1,2 to_hosts=3 limit_by=size limit=10g …",
    }),
  },
  closed,
)
export type RebalancePolicyText = Type.Static<typeof RebalancePolicyText>

const Devids = Type.Array(Type.Integer())

export const RebalanceStatus = Type.Object({
  running: Type.Boolean(),
  host: Type.Optional(Type.String({ description: 'the machine of the tracker that started it' })),
  policy: Type.Optional(Type.String()),
  progress: Type.Optional(
    Type.Object({
      pending: Type.Array(Type.Integer(), { description: 'sources that are still to come' }),
      current: Type.Optional(Type.Integer({ description: 'the source under way, drained' })),
      completed: Devids,
      filesQueued: Type.Integer(),
      bytesQueued: Type.Integer(),
      startedAt: Time,
      stoppedAt: Time,
      finishedAt: Time,
    }),
  ),
})
export type RebalanceStatus = Type.Static<typeof RebalanceStatus>

/** Devices that the policy selects now, and how much would leave them. */
export const RebalanceTest = Type.Object({
  sources: Devids,
  destinations: Devids,
  amounts: Type.Array(
    Type.Object({ devid: Type.Integer(), files: Type.Integer(), bytes: Type.Integer() }),
    {
      description:
        'what would leave each source: exact up to 200,000 files a device, but for limits, which are reckoned with files of the average size',
    },
  ),
})
export type RebalanceTest = Type.Static<typeof RebalanceTest>

export const FidQuery = Type.Object({
  after: Type.Optional(Type.Integer(fidRange)),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
})
export type FidQuery = Type.Static<typeof FidQuery>

/** Files of all domains by fid. The last fid goes into `after` for the next page. */
export const FidList = Type.Array(FileInfo)
export type FidList = Type.Static<typeof FidList>

const queued = {
  attempts: Type.Integer(),
  nextTryAt: Type.Optional(Type.String({ description: 'ISO 8601; absent: waits for a person' })),
}

/** All that is known of one content, whatever has become of it. */
export const FileTraces = Type.Object({
  fid: Type.Integer(),
  file: Type.Optional(FileInfo),
  checksum: Type.Optional(
    Type.Object(
      { algorithm: Type.String(), hex: Type.String() },
      { description: "by the hashtype of the file's class" },
    ),
  ),
  urls: Type.Array(Type.Object({ devid: Type.Integer(), url: Type.String() }), {
    description: 'where every copy should be, also on devices that cannot be read now',
  }),
  upload: Type.Optional(
    Type.Object({
      domain: Type.String(),
      key: FileInfo.properties.key,
      keyBytes: FileInfo.properties.keyBytes,
      class: Type.String(),
      devids: Devids,
      expiresAt: Type.String(),
    }),
  ),
  replication: Type.Optional(Type.Object(queued)),
  deletion: Type.Optional(Type.Object({ ...queued, devids: Devids })),
  check: Type.Optional(Type.Object(queued)),
  moves: Type.Array(Type.Object({ ...queued, from: Type.Integer(), to: Devids })),
})
export type FileTraces = Type.Static<typeof FileTraces>

export const Replicated = Type.Object({
  count: Type.Integer({ description: 'replications that are due now and were not before' }),
})
export type Replicated = Type.Static<typeof Replicated>

const QueueName = Type.Union([
  Type.Literal('replicate'),
  Type.Literal('delete'),
  Type.Literal('fsck'),
  Type.Literal('rebalance'),
])

/** The work that waits. */
export const QueueList = Type.Array(
  Type.Object({
    queue: QueueName,
    waiting: Type.Integer(),
    new: Type.Integer({ description: 'of them, due and not tried yet' }),
    overdue: Type.Integer({ description: 'due and tried before' }),
    deferred: Type.Integer({ description: 'due later' }),
    stuck: Type.Integer({ description: 'given up: they wait for a person' }),
    ages: Type.Object(
      {
        underMinute: Type.Integer(),
        underHour: Type.Integer({ description: 'a minute and more' }),
        underDay: Type.Integer({ description: 'an hour and more' }),
        older: Type.Integer(),
      },
      { description: 'all that wait, by the time since they were queued' },
    ),
    oldestAt: Type.Optional(Type.String({ description: 'ISO 8601' })),
    lastError: Type.Optional(Type.String()),
  }),
)
export type QueueList = Type.Static<typeof QueueList>

export const StuckQuery = Type.Object({ queue: QueueName, ...FidQuery.properties })
export type StuckQuery = Type.Static<typeof StuckQuery>

/** What was given up. The last fid goes into `after` for the next page. */
export const StuckList = Type.Array(
  Type.Object({
    fid: Type.Integer(),
    attempts: Type.Integer(),
    queuedAt: Type.String({ description: 'ISO 8601' }),
    lastError: Type.Optional(Type.String()),
  }),
)
export type StuckList = Type.Static<typeof StuckList>

/** How many files there are. */
export const FileCounts = Type.Object({
  countedAt: Type.Optional(
    Type.String({
      description:
        'when that count began (ISO 8601): of up to 20,000 files just now; absent: it is the first one and not over',
    }),
  ),
  highestFid: Type.Integer(),
  classes: Type.Array(
    Type.Object({
      domain: Type.String(),
      class: Type.String(),
      copies: Type.Integer(),
      files: Type.Integer({ description: 'of that class with so many copies' }),
      bytes: Type.Integer({ description: 'of one copy of each' }),
    }),
  ),
  devices: Type.Array(
    Type.Object({ devid: Type.Integer(), files: Type.Integer(), bytes: Type.Integer() }),
  ),
})
export type FileCounts = Type.Static<typeof FileCounts>

/** Devices that are to be emptied. */
export const DrainList = Type.Array(
  Type.Object({
    devid: Type.Integer(),
    host: Type.String(),
    requestedAt: Type.String(),
    files: Type.Integer({
      description: 'live files that are still there; 200,000 stands for more',
    }),
    bytes: Type.Integer(),
    uploads: Type.Integer({
      description: 'open uploads that may still bring a file there, as of a few seconds ago',
    }),
    trash: Type.Integer({ description: 'deleted files with bytes there that can be had back' }),
    moves: Type.Integer({ description: 'of the files, those whose turn has not come' }),
    lastError: Type.Optional(Type.String()),
    empty: Type.Boolean({
      description:
        'no live file is there, none is on its way, and every tracker knows: the disk may be pulled',
    }),
  }),
)
export type DrainList = Type.Static<typeof DrainList>

export const NewScrub = Type.Object(
  {
    domain: Type.Optional(Type.String()),
    class: Type.Optional(Type.String({ description: 'of the domain' })),
    devid: Type.Optional(Type.Integer({ minimum: 1, maximum: 2147483647 })),
  },
  closed,
)
export type NewScrub = Type.Static<typeof NewScrub>

/** A reading of replicas; the one that is `continuous` begins again whenever it is through. */
export const ScrubInfo = Type.Object({
  id: Type.Integer(),
  continuous: Type.Boolean(),
  domain: Type.Optional(Type.String()),
  class: Type.Optional(Type.String()),
  devid: Type.Optional(Type.Integer()),
  position: Type.Integer({ description: 'files up to this fid have been read' }),
  endFid: Type.Optional(Type.Integer({ description: 'the last one to read; absent: the newest' })),
  startedAt: Type.String(),
  finishedAt: Type.Optional(
    Type.String({ description: 'absent: it goes on; of the continuous one: its round before' }),
  ),
  files: Type.Integer(),
  replicas: Type.Integer(),
  bytes: Type.Integer(),
  bad: Type.Integer({ description: 'replicas that were missing or had wrong bytes' }),
})
export type ScrubInfo = Type.Static<typeof ScrubInfo>

/** How far the comparison of each device with the database is, and what it found in this round. */
export const SweepList = Type.Array(
  Type.Object({
    devid: Type.Integer(),
    position: Type.Integer(),
    startedAt: Time,
    finishedAt: Type.Optional(Type.String({ description: 'of the round before' })),
    files: Type.Integer(),
    wrong: Type.Integer({ description: 'missing, or of another size' }),
    extra: Type.Integer({ description: 'bytes that nobody owns' }),
    removed: Type.Integer(),
    lastFiles: Type.Integer({ description: 'in the round before' }),
    lastExtra: Type.Integer(),
  }),
)
export type SweepList = Type.Static<typeof SweepList>

/** Files that cannot be mended: no good copy is known. The last fid goes into `after`. */
export const DamageList = Type.Array(
  Type.Object({
    fid: Type.Integer(),
    domain: Type.String(),
    key: FileInfo.properties.key,
    keyBytes: FileInfo.properties.keyBytes,
    size: Type.Integer(),
    devids: Devids,
    foundAt: Type.String(),
    why: Type.String(),
  }),
)
export type DamageList = Type.Static<typeof DamageList>

export const TrashQuery = Type.Object({
  prefix: Type.Optional(Type.String({ description: 'percent-encoded bytes' })),
  after: Type.Optional(Type.String({ description: 'percent-encoded bytes: the last key seen' })),
  afterFid: Type.Optional(Type.Integer({ ...fidRange, description: 'and its fid' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
})

/** Deleted files that can be had back, by key; of one key, oldest first. */
export const TrashList = Type.Array(
  Type.Object({
    key: FileInfo.properties.key,
    keyBytes: FileInfo.properties.keyBytes,
    fid: Type.Integer(),
    class: Type.String(),
    size: Type.Integer(),
    contentType: FileInfo.properties.contentType,
    deletedAt: Type.String(),
    expiresAt: Type.String({ description: 'until when it can be had back' }),
  }),
)
export type TrashList = Type.Static<typeof TrashList>

export const Undelete = Type.Object(
  {
    key: Type.Optional(Type.String({ maxLength: 4096 })),
    keyBytes: FileInfo.properties.keyBytes,
    fid: Type.Optional(Type.Integer({ ...fidRange, description: 'absent: what was deleted last' })),
  },
  closed,
)
export type Undelete = Type.Static<typeof Undelete>

export const Purged = Type.Object({ count: Type.Integer({ description: 'files let go of' }) })
export type Purged = Type.Static<typeof Purged>

export const AuditQuery = Type.Object({
  before: Type.Optional(
    Type.String({
      pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,6})?Z$',
      description: 'the time of the last entry seen',
    }),
  ),
  domain: Type.Optional(Type.String()),
  action: Type.Optional(Type.String({ maxLength: 64 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
})
export type AuditQuery = Type.Static<typeof AuditQuery>

/** Who did what, newest first. What was done in one moment comes in one page, whatever the limit. */
export const AuditTrail = Type.Array(
  Type.Object({
    at: Type.String({ description: 'ISO 8601, to the microsecond' }),
    actor: Type.String({ description: 'name of the token, or the protocol' }),
    tokenId: Type.Optional(Type.Integer({ description: 'its number, which no other token gets' })),
    address: Type.String(),
    action: Type.String(),
    domain: Type.Optional(Type.String()),
    fid: Type.Optional(Type.Integer()),
    key: Type.Optional(Type.String()),
    keyBytes: FileInfo.properties.keyBytes,
    requestId: Type.Optional(Type.String()),
    detail: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
)
export type AuditTrail = Type.Static<typeof AuditTrail>

/** What a reader found wrong with a replica. */
export const ReplicaReport = Type.Object(
  {
    devid: Type.Integer({ minimum: 1, maximum: 2147483647 }),
    fid: Type.Integer({ ...fidRange, minimum: 1 }),
    problem: Type.Union(
      [
        Type.Literal('missing'),
        Type.Literal('size'),
        Type.Literal('digest'),
        Type.Literal('short'),
      ],
      { description: 'not there, of another length, of other content, or its body ends early' },
    ),
  },
  closed,
)
export type ReplicaReport = Type.Static<typeof ReplicaReport>
