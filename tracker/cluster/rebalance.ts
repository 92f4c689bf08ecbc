/** One step of a rebalance: which replicas are to move next, and what that does to its state. */
import type { Logger } from '../../common/log.ts'
import {
  allowance,
  destinationsOfFile,
  parseRebalancePolicy,
  selectDestinations,
  takeFiles,
  type RebalancePolicy,
} from '../policy/rebalance.ts'
import {
  beginSource,
  dropSources,
  endSource,
  formatRebalanceState,
  parseRebalanceState,
  type RebalanceState,
} from '../policy/rebalance-state.ts'
import type { Db } from '../store/db.ts'
import {
  countMoves,
  drainDevice,
  insertMoves,
  listFilesOn,
  readRebalance,
  restoreDevice,
  writeRebalance,
  type StoredFile,
} from '../store/rebalance.ts'
import { requestReview, settledSeconds } from '../store/reviews.ts'
import { databaseTime, lockUpkeep } from '../store/upkeep.ts'
import type { Context } from './context.ts'
import { numberSetting, queueLimits } from './snapshot.ts'

/** Reads a stored policy. Throws an Error when it is none. */
export function storedPolicy(text: string): RebalancePolicy {
  const parsed = parseRebalancePolicy(text)
  if (parsed.kind === 'invalid') throw new Error(`the stored policy is broken: ${parsed.why}`)
  return parsed.policy
}

/** Gives the source under way, if it is drained, the status back that it had before. */
export async function releaseSource(tx: Db, state: RebalanceState): Promise<RebalanceState> {
  const { current, statusBefore } = state
  if (current !== undefined && statusBefore !== undefined) {
    await restoreDevice(tx, { devid: current, status: statusBefore })
    // What was placed meanwhile had to do without it.
    if (statusBefore === 'alive') await requestReview(tx, 'all', settledSeconds)
  }
  return { ...state, statusBefore: undefined }
}

type StepContext = Pick<Context, 'db' | 'cluster' | 'random'>

/**
 * Queues the next moves while a rebalance runs, as many as `queue_rate_for_rebal` and
 * `queue_size_for_rebal` allow, and returns how many; 0 also when there is nothing to do now. Ends the
 * source under way when all of it is queued or its limit is reached, and the run after the last one.
 * To be called again and again, by any tracker: all of a step is one transaction.
 */
export async function advanceRebalance(ctx: StepContext, log: Logger): Promise<number> {
  let changed = false
  const queued = await ctx.db.transaction(async tx => {
    await lockUpkeep(tx)
    const { host, policy: policyText, state: stateText } = await readRebalance(tx)
    if (host === undefined) return 0
    const state = parseRebalanceState(stateText ?? '')
    if (!state || policyText === undefined) throw new Error('the stored state is broken')
    const run = { ctx, tx, log, policy: storedPolicy(policyText), now: await databaseTime(tx) }
    const step = await advance(run, state)
    if (step === 'wait') return 0
    changed = step.state.current !== state.current || step.finished
    await writeRebalance(tx, {
      state: formatRebalanceState(step.state),
      ...(step.finished && { host: undefined }),
    })
    return step.queued
  })
  if (changed) await ctx.cluster.refresh()
  return queued
}

interface Run {
  readonly ctx: StepContext
  readonly tx: Db
  readonly log: Logger
  readonly policy: RebalancePolicy
  readonly now: number
}

interface Step {
  readonly queued: number
  readonly state: RebalanceState
  readonly finished: boolean
}

async function advance(run: Run, before: RebalanceState): Promise<Step | 'wait'> {
  const { ctx, tx, log, policy, now } = run
  const { rate, size } = queueLimits(ctx.cluster.snapshot, 'rebal')
  const room = size - (await countMoves(tx, size))
  if (room <= 0 || rate <= 0) return 'wait'
  const state = await sourceUnderWay(run, before)
  if (state === 'wait') return 'wait'
  const { current: devid } = state
  if (devid === undefined) {
    return { queued: 0, state: { ...state, timeFinished: now }, finished: true }
  }
  const destinations = selectDestinations(policy, ctx.cluster.devices(), {
    sources: [...state.pending, devid, ...state.completed],
    reserve: numberSetting(ctx.cluster.snapshot, 'min_free_space_mb') * 1024 * 1024,
  }).map(device => device.devid)
  if (destinations.length === 0) {
    log.warn({ devid }, 'no device suits as destination of the rebalance')
    return { queued: 0, state, finished: false }
  }
  const files = await listFilesOn(tx, {
    devid,
    after: state.lastFid,
    newestFirst: policy.newestFirst,
    limit: Math.min(rate, room),
  })
  const suits = ({ devids }: StoredFile): boolean =>
    isBetterPlace(ctx, { devids, from: devid, destinations })
  const taken = takeFiles(policy, state, files, suits)
  const targets = (): number[] => destinationsOfFile(policy, destinations, ctx.random)
  await insertMoves(
    tx,
    taken.files.map(({ fid, slot }) => ({ fid, slot, devid, devids: targets() })),
  )
  const after: RebalanceState =
    files.length === 0
      ? { ...taken.state, emptyRuns: state.emptyRuns + 1, timeLatestEmptyRun: now }
      : { ...taken.state, timeLatestRun: now }
  const queued = taken.files.length
  if (files.length > 0 && !taken.exhausted) return { queued, state: after, finished: false }
  const released = policy.leaveInDrain ? after : await releaseSource(tx, after)
  const finished = taken.exhausted && policy.limit?.of === 'global'
  return {
    queued,
    state: { ...endSource(released), ...(finished && { timeFinished: now }) },
    finished,
  }
}

/** Some destination can take a replica from `from` without there being fewer hosts with one. */
function isBetterPlace(
  { cluster }: Pick<StepContext, 'cluster'>,
  {
    devids,
    from,
    destinations,
  }: { devids: readonly number[]; from: number; destinations: readonly number[] },
): boolean {
  const hostOf = (devid: number): number | undefined => cluster.device(devid)?.host.id
  const others = devids.filter(devid => devid !== from)
  const hosts = new Set(others.map(hostOf))
  const isShared = hosts.has(hostOf(from))
  return destinations.some(
    devid => !devids.includes(devid) && (isShared || !hosts.has(hostOf(devid))),
  )
}

/**
 * The state with a drained source under way, or with none when all are done. `wait`: those that are
 * left cannot be taken from now.
 */
async function sourceUnderWay(
  { ctx, tx, policy }: Run,
  before: RebalanceState,
): Promise<RebalanceState | 'wait'> {
  const state = dropSources(before, devid => {
    const status = ctx.cluster.device(devid)?.status
    return status === undefined || status === 'dead'
  })
  if (state.current !== undefined) {
    if (state.statusBefore !== undefined) return state
    const statusBefore = await drainDevice(tx, state.current)
    return statusBefore === undefined ? 'wait' : { ...state, statusBefore }
  }
  for (const devid of state.pending) {
    const statusBefore = await drainDevice(tx, devid)
    if (statusBefore === undefined) continue
    const device = ctx.cluster.device(devid)
    const limit = allowance(policy, 'device', device ? [device] : [])
    return { ...beginSource(state, devid, limit), statusBefore }
  }
  return state.pending.length === 0 ? state : 'wait'
}
