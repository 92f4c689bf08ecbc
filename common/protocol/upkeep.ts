/** Upkeep over the HTTP API: fsck, rebalance, drains, scrubs, queues, trash, audit, and traces of files. */
import Type from 'typebox'
import { closed, Devid, keyArgument, keyFields, PageLimit } from './fields.ts'
import { FileInfo } from './files.ts'

const fidRange = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const
const Time = Type.Optional(Type.String({ description: 'ISO 8601; absent: not yet' }))

export const FsckStatus = Type.Object({
  running: Type.Boolean(),
  host: Type.Optional(Type.String({ description: 'the machine of the tracker that started it' })),
  policyOnly: Type.Boolean({
    description: 'only the number and place of the copies are checked, not the copies themselves',
  }),
  checkedTo: Type.Integer({ description: 'files up to this fid have been queued' }),
  endFid: Type.Integer({ description: 'the last fid to check' }),
  queued: Type.Integer({ description: 'files queued since the start' }),
  startedAt: Time,
  stoppedAt: Time,
  now: Type.String({ description: "ISO 8601, by the database's clock" }),
  lastLogId: Type.Integer(),
  events: Type.Record(Type.String(), Type.Integer(), {
    description: "how often each of MogileFS's event codes occurred since the start or reset",
  }),
})
export type FsckStatus = Type.Static<typeof FsckStatus>

export const ResetFsck = Type.Object(
  {
    policyOnly: Type.Optional(Type.Boolean()),
    after: Type.Optional(
      Type.Integer({ ...fidRange, description: 'skip files up to this fid; 0: none' }),
    ),
  },
  closed,
)
export type ResetFsck = Type.Static<typeof ResetFsck>

export const FsckLogQuery = Type.Object({
  after: Type.Optional(Type.Integer({ ...fidRange, description: 'id of the last entry seen' })),
  limit: PageLimit,
})
export type FsckLogQuery = Type.Static<typeof FsckLogQuery>

/** What fsck found, oldest first. For the next page, pass the last `id` as `after`. */
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
      pending: Type.Array(Type.Integer(), { description: 'sources that are still to be drained' }),
      current: Type.Optional(Type.Integer({ description: 'the source that is being drained' })),
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

/** The devices that the policy selects now, and how much would leave them. */
export const RebalanceTest = Type.Object({
  sources: Devids,
  destinations: Devids,
  amounts: Type.Array(
    Type.Object({ devid: Type.Integer(), files: Type.Integer(), bytes: Type.Integer() }),
    {
      description:
        'what would leave each source. Exact for up to 200,000 files per device, except that limits are computed with the average size of a file',
    },
  ),
})
export type RebalanceTest = Type.Static<typeof RebalanceTest>

export const FidQuery = Type.Object({
  after: Type.Optional(Type.Integer(fidRange)),
  limit: PageLimit,
})
export type FidQuery = Type.Static<typeof FidQuery>

/** Files of all domains by fid. For the next page, pass the last fid as `after`. */
export const FidList = Type.Array(FileInfo)
export type FidList = Type.Static<typeof FidList>

const queued = {
  attempts: Type.Integer(),
  nextTryAt: Type.Optional(
    Type.String({ description: 'ISO 8601; absent: given up until a person acts' }),
  ),
}

/** Everything that is known about one content, even if it was deleted. */
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
    description: 'where every copy should be, even on devices that cannot be read now',
  }),
  upload: Type.Optional(
    Type.Object({
      domain: Type.String(),
      ...keyFields,
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
  count: Type.Integer({ description: 'replications that were not due before, and are due now' }),
})
export type Replicated = Type.Static<typeof Replicated>

const QueueName = Type.Union([
  Type.Literal('replicate'),
  Type.Literal('delete'),
  Type.Literal('fsck'),
  Type.Literal('rebalance'),
])

/** The jobs that wait, by queue. */
export const QueueList = Type.Array(
  Type.Object({
    queue: QueueName,
    waiting: Type.Integer(),
    new: Type.Integer({ description: 'of these, jobs that are due and have not been tried' }),
    overdue: Type.Integer({ description: 'due, and tried before' }),
    deferred: Type.Integer({ description: 'due later' }),
    stuck: Type.Integer({ description: 'given up until a person acts' }),
    ages: Type.Object(
      {
        underMinute: Type.Integer(),
        underHour: Type.Integer({ description: 'at least a minute' }),
        underDay: Type.Integer({ description: 'at least an hour' }),
        older: Type.Integer(),
      },
      { description: 'all waiting jobs, by the time since they were queued' },
    ),
    oldestAt: Type.Optional(Type.String({ description: 'ISO 8601' })),
    lastError: Type.Optional(Type.String()),
  }),
)
export type QueueList = Type.Static<typeof QueueList>

export const StuckQuery = Type.Object({ queue: QueueName, ...FidQuery.properties })
export type StuckQuery = Type.Static<typeof StuckQuery>

/** Jobs that were given up. For the next page, pass the last fid as `after`. */
export const StuckList = Type.Array(
  Type.Object({
    fid: Type.Integer(),
    attempts: Type.Integer(),
    queuedAt: Type.String({ description: 'ISO 8601' }),
    lastError: Type.Optional(Type.String()),
  }),
)
export type StuckList = Type.Static<typeof StuckList>

/** The numbers of files. */
export const FileCounts = Type.Object({
  countedAt: Type.Optional(
    Type.String({
      description:
        'when the count began (ISO 8601). Up to 20,000 files are counted on request; absent: the first count is not done yet',
    }),
  ),
  highestFid: Type.Integer(),
  classes: Type.Array(
    Type.Object({
      domain: Type.String(),
      class: Type.String(),
      copies: Type.Integer(),
      files: Type.Integer({ description: 'files of that class with so many copies' }),
      bytes: Type.Integer({ description: 'size of one copy of each' }),
    }),
  ),
  devices: Type.Array(
    Type.Object({ devid: Type.Integer(), files: Type.Integer(), bytes: Type.Integer() }),
  ),
})
export type FileCounts = Type.Static<typeof FileCounts>

/** The devices that are being emptied. */
export const DrainList = Type.Array(
  Type.Object({
    devid: Type.Integer(),
    host: Type.String(),
    requestedAt: Type.String(),
    files: Type.Integer({
      description: 'live files that are still there; counted up to 200,000',
    }),
    bytes: Type.Integer(),
    uploads: Type.Integer({
      description: 'open uploads that may still write a file there, as of a few seconds ago',
    }),
    trash: Type.Integer({
      description: 'deleted files with bytes there that can still be restored',
    }),
    moves: Type.Integer({ description: 'of the files, those that still wait for their turn' }),
    lastError: Type.Optional(Type.String()),
    empty: Type.Boolean({
      description:
        'no live file is there or on its way, and every tracker knows: the disk may be pulled',
    }),
  }),
)
export type DrainList = Type.Static<typeof DrainList>

export const NewScrub = Type.Object(
  {
    domain: Type.Optional(Type.String()),
    class: Type.Optional(Type.String({ description: 'a class of the domain' })),
    devid: Type.Optional(Devid),
  },
  closed,
)
export type NewScrub = Type.Static<typeof NewScrub>

/** A scrub, which reads replicas. The `continuous` one begins again whenever it is done. */
export const ScrubInfo = Type.Object({
  id: Type.Integer(),
  continuous: Type.Boolean(),
  domain: Type.Optional(Type.String()),
  class: Type.Optional(Type.String()),
  devid: Type.Optional(Type.Integer()),
  position: Type.Integer({ description: 'files up to this fid have been read' }),
  endFid: Type.Optional(Type.Integer({ description: 'the last fid to read; absent: the newest' })),
  startedAt: Type.String(),
  finishedAt: Type.Optional(
    Type.String({
      description: 'absent: it is not done; for the continuous one, the end of its last round',
    }),
  ),
  files: Type.Integer(),
  replicas: Type.Integer(),
  bytes: Type.Integer(),
  bad: Type.Integer({ description: 'replicas that were missing or had wrong bytes' }),
})
export type ScrubInfo = Type.Static<typeof ScrubInfo>

/** How far the comparison of each device with the database has got, and what it found in this round. */
export const SweepList = Type.Array(
  Type.Object({
    devid: Type.Integer(),
    position: Type.Integer(),
    startedAt: Time,
    finishedAt: Type.Optional(Type.String({ description: 'end of the last round' })),
    files: Type.Integer(),
    wrong: Type.Integer({ description: 'files that are missing or have another size' }),
    extra: Type.Integer({ description: 'files on disk that belong to no file of the cluster' }),
    removed: Type.Integer(),
    lastFiles: Type.Integer({ description: 'in the last round' }),
    lastExtra: Type.Integer(),
  }),
)
export type SweepList = Type.Static<typeof SweepList>

/** Files that cannot be repaired: no good copy is left. For the next page, pass the last fid as `after`. */
export const DamageList = Type.Array(
  Type.Object({
    fid: Type.Integer(),
    domain: Type.String(),
    ...keyFields,
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
  limit: PageLimit,
})

/** Deleted files that can be restored, by key; several of one key, oldest first. */
export const TrashList = Type.Array(
  Type.Object({
    ...keyFields,
    fid: Type.Integer(),
    class: Type.String(),
    size: Type.Integer(),
    contentType: FileInfo.properties.contentType,
    deletedAt: Type.String(),
    expiresAt: Type.String({ description: 'until when it can be restored' }),
  }),
)
export type TrashList = Type.Static<typeof TrashList>

export const Undelete = Type.Object(
  {
    ...keyArgument,
    fid: Type.Optional(
      Type.Integer({ ...fidRange, description: 'absent: the one that was deleted last' }),
    ),
  },
  closed,
)
export type Undelete = Type.Static<typeof Undelete>

export const Purged = Type.Object({
  count: Type.Integer({ description: 'files that were deleted for good' }),
})
export type Purged = Type.Static<typeof Purged>

export const AuditQuery = Type.Object({
  before: Type.Optional(
    Type.String({
      pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,6})?Z$',
      description: 'the time of the last entry that was seen',
    }),
  ),
  domain: Type.Optional(Type.String()),
  action: Type.Optional(Type.String({ maxLength: 64 })),
  limit: PageLimit,
})
export type AuditQuery = Type.Static<typeof AuditQuery>

/**
 * Who changed what, newest first. Entries of the same moment are never split between pages, so a page may
 * have more than `limit` entries.
 */
export const AuditTrail = Type.Array(
  Type.Object({
    at: Type.String({ description: 'ISO 8601, to the microsecond' }),
    actor: Type.String({ description: 'name of the token, or of the protocol' }),
    tokenId: Type.Optional(
      Type.Integer({ description: 'number of the token, which no other token ever gets' }),
    ),
    address: Type.String(),
    action: Type.String(),
    domain: Type.Optional(Type.String()),
    fid: Type.Optional(Type.Integer()),
    key: Type.Optional(Type.String()),
    keyBytes: keyFields.keyBytes,
    requestId: Type.Optional(Type.String()),
    detail: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
)
export type AuditTrail = Type.Static<typeof AuditTrail>

/** What a reader found to be wrong with a replica. */
export const ReplicaReport = Type.Object(
  {
    devid: Devid,
    fid: Type.Integer({ ...fidRange, minimum: 1 }),
    problem: Type.Union(
      [
        Type.Literal('missing'),
        Type.Literal('size'),
        Type.Literal('digest'),
        Type.Literal('short'),
      ],
      { description: 'not there; another length; other content; its body ended early' },
    ),
  },
  closed,
)
export type ReplicaReport = Type.Static<typeof ReplicaReport>
