/** Rebalance: moves replicas from the devices that a policy names to others. */
import { hostname } from 'node:os'
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { releaseSource, storedPolicy } from '../cluster/rebalance.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import {
  allowance,
  estimateMoves,
  parseRebalancePolicy,
  selectDestinations,
  selectSources,
  type Amount,
  type RebalancePolicy,
} from '../policy/rebalance.ts'
import {
  formatRebalanceState,
  newRebalance,
  parseRebalanceState,
  type RebalanceState,
} from '../policy/rebalance-state.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import type { Db } from '../store/db.ts'
import {
  countFilesOn,
  readRebalance,
  writeRebalance,
  type RebalanceRow,
} from '../store/rebalance.ts'
import { databaseTime, lockUpkeep } from '../store/upkeep.ts'

/** Longest policy, in characters. */
const maxPolicy = 4096

export interface RebalanceStatus extends RebalanceRow {
  /** `state`, understood; undefined when there is none, or none that can be read. */
  readonly progress: RebalanceState | undefined
}

/** What is stored: the policy, whether it runs, and how far it got. */
export async function rebalanceStatus({ db }: Pick<Context, 'db'>): Promise<RebalanceStatus> {
  const { fsckRuns: _, ...row } = await readRebalance(db)
  return { ...row, progress: parseRebalanceState(row.state ?? '') }
}

/** Stores a policy and forgets how far the last run got. Throws no_set_rebal or bad_rebal_pol. */
export async function setRebalancePolicy(
  { db }: Pick<Context, 'db'>,
  text: string,
  caller: Caller,
): Promise<void> {
  await db.transaction(async tx => {
    await lockUpkeep(tx)
    if ((await readRebalance(tx)).host !== undefined) {
      const why = 'cannot change rebalance policy while rebalance is running'
      throw new CodedError('no_set_rebal', why)
    }
    const parsed = parseRebalancePolicy(text)
    if (parsed.kind === 'invalid') throw new CodedError('bad_rebal_pol', parsed.why)
    if (text.length > maxPolicy) {
      throw new CodedError('bad_rebal_pol', `A policy has at most ${maxPolicy} characters`)
    }
    const policy = text.trim().replaceAll(/\s+/g, ' ')
    await writeRebalance(tx, { policy, state: undefined })
    await insertAudit(tx, caller, { action: 'rebalance.set_policy', detail: { policy } })
  })
}

/** What the policy selects now. */
export interface Selection {
  /** Numbers of devices. */
  readonly sources: number[]
  readonly destinations: number[]
  /** What would leave each source. */
  readonly amounts: Amount[]
}

/** Tells how much the policy would move from where to where. Throws no_rebal_policy. */
export async function testRebalance(ctx: Pick<Context, 'db' | 'cluster'>): Promise<Selection> {
  const policy = policyOf(await readRebalance(ctx.db))
  await ctx.cluster.refresh()
  const devices = ctx.cluster.devices()
  const selected = selectSources(policy, devices)
  const sources = selected.map(({ devid }) => devid)
  const reserve = numberSetting(ctx.cluster.snapshot, 'min_free_space_mb') * 1024 * 1024
  const destinations = selectDestinations(policy, devices, { sources, reserve })
  const amounts = destinations.length === 0 ? [] : await countFilesOn(ctx.db, sources)
  return {
    sources,
    destinations: destinations.map(({ devid }) => devid),
    amounts: estimateMoves(policy, destinations.length === 0 ? [] : selected, amounts),
  }
}

function policyOf({ policy }: RebalanceRow): RebalancePolicy {
  if (policy === undefined) throw new CodedError('no_rebal_policy', 'no policy was set')
  return storedPolicy(policy)
}

/**
 * Goes on where it was stopped, or begins, and returns the state as text. A run that is over is not
 * begun again: that takes a reset, or a policy. Throws rebal_running, fsck_running or
 * no_rebal_policy, in this order.
 */
export async function startRebalance(
  ctx: Pick<Context, 'db' | 'cluster'>,
  caller: Caller,
): Promise<string> {
  await ctx.cluster.refresh()
  return ctx.db.transaction(async tx => {
    await lockUpkeep(tx)
    const row = await readRebalance(tx)
    if (row.host !== undefined) {
      throw new CodedError('rebal_running', 'rebalance is already running')
    }
    if (row.fsckRuns) {
      throw new CodedError('fsck_running', 'fsck running; cannot run rebalance at same time')
    }
    const policy = policyOf(row)
    const before = parseRebalanceState(row.state ?? '')
    const state = formatRebalanceState(before ?? (await firstState(ctx, tx, policy)))
    await writeRebalance(tx, { state, host: hostname() })
    await insertAudit(tx, caller, { action: 'rebalance.start', detail: { state } })
    return state
  })
}

async function firstState(
  { cluster }: Pick<Context, 'cluster'>,
  tx: Db,
  policy: RebalancePolicy,
): Promise<RebalanceState> {
  const sources = selectSources(policy, cluster.devices())
  return newRebalance({
    sources: sources.map(({ devid }) => devid),
    globalLimit: allowance(policy, 'global', sources),
    now: await databaseTime(tx),
  })
}

/**
 * Queues no more moves, and gives the source under way the status back that it had before. What is
 * queued is still moved. Throws rebal_not_started.
 */
export async function stopRebalance(
  ctx: Pick<Context, 'db' | 'cluster'>,
  caller: Caller,
): Promise<void> {
  await ctx.db.transaction(async tx => {
    await lockUpkeep(tx)
    const { host, state: text = '' } = await readRebalance(tx)
    if (host === undefined) throw new CodedError('rebal_not_started', 'rebalance does not run')
    const before = parseRebalanceState(text)
    const state = before && {
      ...(await releaseSource(tx, before)),
      timeStopped: await databaseTime(tx),
    }
    await writeRebalance(tx, { host: undefined, state: state && formatRebalanceState(state) })
    await insertAudit(tx, caller, { action: 'rebalance.stop' })
  })
  await ctx.cluster.refresh()
}

/** Forgets how far the last run got, so that the next one begins anew. Throws rebal_running. */
export async function resetRebalance({ db }: Pick<Context, 'db'>, caller: Caller): Promise<void> {
  await db.transaction(async tx => {
    await lockUpkeep(tx)
    if ((await readRebalance(tx)).host !== undefined) {
      throw new CodedError('rebal_running', 'rebalance is running')
    }
    await writeRebalance(tx, { state: undefined })
    await insertAudit(tx, caller, { action: 'rebalance.reset' })
  })
}
