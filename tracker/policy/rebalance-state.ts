/** How far a rebalance got, and MogileFS's text for it: words `name=value`, lists with commas. */
import type { DeviceStatus } from '../../common/protocol/configuration.ts'

/** Times are Unix times; 0: not yet. */
export interface RebalanceState {
  /** Sources that are still to come, the one under way, and those that are done. */
  readonly pending: readonly number[]
  readonly current: number | undefined
  readonly completed: readonly number[]
  /** What the current source was before it was drained; undefined: it is not drained. */
  readonly statusBefore: DeviceStatus | undefined
  /** Of the current source everything up to this file is queued; 0: nothing. */
  readonly lastFid: number
  /** What is left of the limits, in files or bytes; undefined: no limit. */
  readonly deviceLimit: number | undefined
  readonly globalLimit: number | undefined
  readonly fidsQueued: number
  readonly bytesQueued: number
  readonly timeStarted: number
  readonly timeLatestRun: number
  readonly timeLatestEmptyRun: number
  readonly emptyRuns: number
  readonly timeStopped: number
  readonly timeFinished: number
}

/** A run that begins now. */
export function newRebalance({
  sources,
  globalLimit,
  now,
}: {
  readonly sources: readonly number[]
  readonly globalLimit: number | undefined
  readonly now: number
}): RebalanceState {
  return {
    pending: sources,
    current: undefined,
    completed: [],
    statusBefore: undefined,
    lastFid: 0,
    deviceLimit: undefined,
    globalLimit,
    fidsQueued: 0,
    bytesQueued: 0,
    timeStarted: now,
    timeLatestRun: 0,
    timeLatestEmptyRun: 0,
    emptyRuns: 0,
    timeStopped: 0,
    timeFinished: 0,
  }
}

/** `devid`, one of those to come, is under way. */
export function beginSource(
  state: RebalanceState,
  devid: number,
  deviceLimit: number | undefined,
): RebalanceState {
  return {
    ...state,
    pending: state.pending.filter(id => id !== devid),
    current: devid,
    statusBefore: undefined,
    lastFid: 0,
    deviceLimit,
  }
}

/** The source under way is done. */
export function endSource(state: RebalanceState): RebalanceState {
  return {
    ...state,
    current: undefined,
    completed: state.current === undefined ? state.completed : [...state.completed, state.current],
    statusBefore: undefined,
    lastFid: 0,
    deviceLimit: undefined,
  }
}

/** Those that are lost count as done. */
export function dropSources(
  state: RebalanceState,
  isLost: (devid: number) => boolean,
): RebalanceState {
  const left = state.current !== undefined && isLost(state.current) ? endSource(state) : state
  return {
    ...left,
    pending: left.pending.filter(devid => !isLost(devid)),
    completed: [...left.completed, ...left.pending.filter(isLost)],
  }
}

const none = 'none'

/** The state as text. */
export function formatRebalanceState(state: RebalanceState): string {
  const words: Record<string, string | number> = {
    completed_devs: state.completed.join(','),
    source_devs: state.pending.join(','),
    sdev_current: state.current ?? 0,
    sdev_status: state.statusBefore ?? none,
    sdev_lastfid: state.lastFid,
    sdev_limit: state.deviceLimit ?? none,
    limit: state.globalLimit ?? none,
    fids_queued: state.fidsQueued,
    bytes_queued: state.bytesQueued,
    time_started: state.timeStarted,
    time_latest_run: state.timeLatestRun,
    time_latest_empty_run: state.timeLatestEmptyRun,
    empty_runs: state.emptyRuns,
    time_stopped: state.timeStopped,
    time_finished: state.timeFinished,
  }
  return Object.entries(words)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
}

const statuses: readonly DeviceStatus[] = ['alive', 'readonly', 'drain', 'down', 'dead']

/** Reads what `formatRebalanceState` wrote; undefined for anything else. */
export function parseRebalanceState(text: string): RebalanceState | undefined {
  const words = new Map(text.split(' ').map(word => [word.split('=')[0], word.split('=')[1] ?? '']))
  const number = (name: string): number => Number(words.get(name) || Number.NaN)
  const list = (name: string): number[] =>
    (words.get(name) || undefined)?.split(',').map(Number) ?? []
  const limit = (name: string): number | undefined =>
    words.get(name) === none ? undefined : number(name)
  const state: RebalanceState = {
    pending: list('source_devs'),
    current: number('sdev_current') || undefined,
    completed: list('completed_devs'),
    statusBefore: statuses.find(status => status === words.get('sdev_status')),
    lastFid: number('sdev_lastfid'),
    deviceLimit: limit('sdev_limit'),
    globalLimit: limit('limit'),
    fidsQueued: number('fids_queued'),
    bytesQueued: number('bytes_queued'),
    timeStarted: number('time_started'),
    timeLatestRun: number('time_latest_run'),
    timeLatestEmptyRun: number('time_latest_empty_run'),
    emptyRuns: number('empty_runs'),
    timeStopped: number('time_stopped'),
    timeFinished: number('time_finished'),
  }
  return formatRebalanceState(state) === text ? state : undefined
}
