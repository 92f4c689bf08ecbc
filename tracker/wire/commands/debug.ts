/** Ping, and what operators look at and push when something is odd. */
import { setTimeout as sleep } from 'node:timers/promises'
import { CodedError } from '../../../common/errors.ts'
import type { Context } from '../../cluster/context.ts'
import { listFids, replicateNow, traceFid, type Traces } from '../../commands/debug.ts'
import { statFile } from '../../commands/files.ts'
import { className } from '../../commands/lookup.ts'
import type { FileRow } from '../../store/files.ts'
import type { QueuedJob } from '../../store/jobs.ts'
import { isPairName, utf8ToWire, type Pair } from '../codec.ts'
import { domainOf, type Handlers } from './args.ts'
import { checksumText, paths } from './files.ts'

/** Longest time that `sleep` sleeps, in seconds. */
const maxSleepSeconds = 30
/** How many files list_fids names: unless told otherwise, and at most. */
const fidCounts = { usual: 100, most: 500 }
/** The time in the queues at which nothing happens by itself. */
const endOfTime = 2_147_483_647
/** What MogileFS tells the works in its table file_to_queue apart by. */
const queueTypes = { fsck: 1, rebalance: 2 }

const domainName = (ctx: Context, id: number): string =>
  utf8ToWire(ctx.cluster.snapshot.domainsById.get(id)?.name ?? '')

const classOf = (ctx: Context, { domainId, classId }: FileRow): string =>
  utf8ToWire(className(ctx, domainId, classId))

const queuePairs = (queue: string, { fid, nextTry, attempts }: QueuedJob): Pair[] => [
  [`${queue}_fid`, fid],
  [`${queue}_nexttry`, nextTry ?? endOfTime],
  [`${queue}_failcount`, attempts],
]

/** 0 for what nobody has looked at yet, as the view `file_to_replicate` has it. */
const urgency = ({ attempts, nextTry }: QueuedJob): number | null =>
  attempts === 0 && nextTry !== null && nextTry <= Date.now() / 1000 ? 0 : nextTry

/** Rows as MogileFS has them: mogfiledebug takes what is behind the last underscore for a column. */
const tracePairs = (
  ctx: Context,
  { file, upload, replication, deletion, check, moves }: Traces,
): Pair[] => [
  ...(file
    ? ([
        ['fid_fid', file.fid],
        ['fid_dmid', file.domainId],
        ['fid_dkey', file.key.toString('latin1')],
        ['fid_length', file.size],
        ['fid_classid', file.classId],
        ['fid_devcount', file.devids.length],
        ['fid_domain', domainName(ctx, file.domainId)],
        ['fid_class', classOf(ctx, file)],
      ] as const)
    : []),
  ...(upload
    ? ([
        ['tempfile_classid', upload.classId],
        ['tempfile_dmid', upload.domainId],
        ['tempfile_dkey', upload.key.toString('latin1')],
        ['tempfile_devids', upload.devids.join(',')],
      ] as const)
    : []),
  ...(replication
    ? ([
        ...queuePairs('replqueue', { ...replication, nextTry: urgency(replication) }),
        ['replqueue_fromdevid', ''],
        ['replqueue_flags', 0],
      ] as const)
    : []),
  ...(deletion ? queuePairs('delqueue', deletion) : []),
  // The names can tell of one move only.
  ...moves
    .slice(0, 1)
    .flatMap((move): Pair[] => [
      ...queuePairs('rebqueue', move),
      ['rebqueue_devid', move.devid],
      ['rebqueue_type', queueTypes.rebalance],
      ['rebqueue_flags', 0],
      ['rebqueue_arg', move.devids.join(',')],
    ]),
  ...(check
    ? ([
        ...queuePairs('fsckqueue', check),
        ['fsckqueue_devid', ''],
        ['fsckqueue_type', queueTypes.fsck],
        ['fsckqueue_flags', 0],
        ['fsckqueue_arg', ''],
      ] as const)
    : []),
]

export const debugCommands: Handlers = {
  noop: () => [],

  test(_ctx, args) {
    if (args.flag('crash')) throw new CodedError('failure', 'as asked for')
    return []
  },

  async sleep(_ctx, args) {
    const seconds = args.flag('duration') ? args.number('duration') : 10
    // Its connection keeps the process alive, and nothing else.
    await sleep(Math.min(seconds, maxSleepSeconds) * 1000, undefined, { ref: false })
    return []
  },

  async do_monitor_round(ctx) {
    await ctx.monitorRound()
    return []
  },

  async clear_cache(ctx, args) {
    await ctx.cluster.refresh()
    await ctx.monitorRound()
    return [...args.entries()].filter(([name]) => name !== 'callid' && isPairName(name))
  },

  async replicate_now(ctx) {
    return [['count', await replicateNow(ctx)]]
  },

  async list_fids(ctx, args) {
    const wanted = args.integer('to') || fidCounts.usual
    const files = await listFids(ctx, {
      after: Math.min(args.number('from'), Number.MAX_SAFE_INTEGER),
      limit: wanted < 0 ? fidCounts.most : Math.min(wanted, fidCounts.most),
    })
    return [
      ['fid_count', files.length],
      ...files.flatMap((file, i): Pair[] => [
        [`fid_${i + 1}_fid`, file.fid],
        [`fid_${i + 1}_domain`, domainName(ctx, file.domainId)],
        [`fid_${i + 1}_class`, classOf(ctx, file)],
        [`fid_${i + 1}_key`, file.key.toString('latin1')],
        [`fid_${i + 1}_length`, file.size],
        [`fid_${i + 1}_devcount`, file.devids.length],
      ]),
    ]
  },

  async file_debug(ctx, args, caller) {
    let fid = args.number('fid')
    // No content has so high a number.
    if (!Number.isSafeInteger(fid)) fid = 0
    if (!args.flag('fid')) {
      const domain = await domainOf(ctx, args)
      fid = (await statFile(ctx, { domain, key: args.bytes('key') })).fid
    }
    const traces = await traceFid(ctx, fid)
    const { file, deletion } = traces
    const devids = file?.devids ?? deletion?.devids ?? []
    return [
      ['checksum', (file && checksumText(file)) ?? 'NONE'],
      ...(devids.length > 0 ? [['devids', devids.join(',')] as const] : []),
      ...paths(ctx, { devids, fid, args, caller, method: 'GET' }).map(({ devid, path }): Pair => [
        `devpath_${devid}`,
        path,
      ]),
      ...tracePairs(ctx, traces),
    ]
  },
}
