/** Fsck and rebalance. */
import { CodedError } from '../../../common/errors.ts'
import {
  beginFsck,
  clearFsckLog,
  endFsck,
  fsckLog,
  fsckStatus,
  rewindFsck,
} from '../../commands/fsck.ts'
import {
  rebalanceStatus,
  resetRebalance,
  setRebalancePolicy,
  startRebalance,
  stopRebalance,
  testRebalance,
} from '../../commands/rebalance.ts'
import { utf8ToWire, type Pair } from '../codec.ts'
import type { Args, Handlers } from './args.ts'

/** Rows of the log in one answer. */
const logRows = 100

const fidOf = (args: Args, name: string): number =>
  Math.min(args.number(name), Number.MAX_SAFE_INTEGER)

export const upkeepCommands: Handlers = {
  async fsck_start(ctx, _args, caller) {
    await beginFsck(ctx, caller)
    return []
  },

  async fsck_stop(ctx, _args, caller) {
    await endFsck(ctx, caller)
    return []
  },

  async fsck_reset(ctx, args, caller) {
    const reset = { policyOnly: args.flag('policy_only'), after: fidOf(args, 'startpos') }
    await rewindFsck(ctx, reset, caller)
    return []
  },

  async fsck_clearlog(ctx, _args, caller) {
    await clearFsckLog(ctx, caller)
    return []
  },

  async fsck_getlog(ctx, args) {
    const rows = await fsckLog(ctx, { after: fidOf(args, 'after_logid'), limit: logRows })
    return [
      ['row_count', rows.length],
      ...rows.flatMap(({ logid, at, fid, event, devid }, i): Pair[] => {
        const row = `row_${i + 1}`
        return [
          [`${row}_logid`, logid],
          [`${row}_utime`, at],
          [`${row}_fid`, fid],
          [`${row}_evcode`, event],
          ...(devid === null ? [] : [[`${row}_devid`, devid] as const]),
        ]
      }),
    ]
  },

  async fsck_status(ctx) {
    const state = await fsckStatus(ctx)
    return [
      ['running', state.host === undefined ? 0 : 1],
      ['host', utf8ToWire(state.host ?? '')],
      ['max_fid_checked', state.highestFid],
      ['policy_only', state.policyOnly ? 1 : 0],
      ['end_fid', state.endFid],
      ['start_time', state.startTime],
      ['stop_time', state.stopTime],
      ['current_time', state.currentTime],
      ['max_logid', state.maxLogid],
      ...[...state.counts].map(([event, count]): Pair => [`num_${event}`, count]),
    ]
  },

  async rebalance_set_policy(ctx, args, caller) {
    await setRebalancePolicy(ctx, args.text('policy'), caller)
    return []
  },

  async rebalance_test(ctx) {
    const { sources, destinations } = await testRebalance(ctx)
    return [
      ['sdevs', sources.join(',')],
      ['ddevs', destinations.join(',')],
    ]
  },

  async rebalance_start(ctx, _args, caller) {
    return [['state', await startRebalance(ctx, caller)]]
  },

  async rebalance_status(ctx) {
    const { state } = await rebalanceStatus(ctx)
    if (state === undefined) throw new CodedError('no_rebal_state', 'it was not started yet')
    return [['state', state]]
  },

  async rebalance_stop(ctx, _args, caller) {
    await stopRebalance(ctx, caller)
    return []
  },

  async rebalance_reset(ctx, _args, caller) {
    await resetRebalance(ctx, caller)
    return []
  },
}
