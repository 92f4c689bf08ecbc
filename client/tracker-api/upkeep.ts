/** The routes of the tracker's HTTP API for upkeep, as functions. */
import type {
  AuditQuery,
  AuditTrail,
  DamageList,
  DrainList,
  FidList,
  FidQuery,
  FileCounts,
  FileTraces,
  FsckLog,
  FsckLogQuery,
  FsckStatus,
  NewScrub,
  QueueList,
  RebalanceStatus,
  RebalanceTest,
  Replicated,
  ResetFsck,
  ScrubInfo,
  StuckList,
  StuckQuery,
  SweepList,
} from '../../common/protocol/upkeep.ts'
import { domainPath, keyQuery, segment, type CallOptions, type FileRef } from './names.ts'
import type { TrackerPool } from './pool.ts'

/** Fsck, rebalance, drains, scrubs, queues and the audit. All calls need a token of scope `admin`. */
export interface UpkeepApi {
  fsckStatus(options?: CallOptions): Promise<FsckStatus>
  /** Throws fsck_running or rebal_running. */
  startFsck(options?: CallOptions): Promise<void>
  stopFsck(options?: CallOptions): Promise<void>
  resetFsck(reset: ResetFsck, options?: CallOptions): Promise<void>
  fsckLog(query?: FsckLogQuery, options?: CallOptions): Promise<FsckLog>
  clearFsckLog(options?: CallOptions): Promise<void>
  rebalanceStatus(options?: CallOptions): Promise<RebalanceStatus>
  /** Throws no_set_rebal or bad_rebal_pol. */
  setRebalancePolicy(policy: string, options?: CallOptions): Promise<void>
  testRebalance(options?: CallOptions): Promise<RebalanceTest>
  /** Throws rebal_running, fsck_running or no_rebal_policy. */
  startRebalance(options?: CallOptions): Promise<RebalanceStatus>
  /** Throws rebal_not_started. */
  stopRebalance(options?: CallOptions): Promise<void>
  resetRebalance(options?: CallOptions): Promise<void>
  /** The files of all domains, in order of their fids. */
  listFids(query?: FidQuery, options?: CallOptions): Promise<FidList>
  debugFid(fid: number, options?: CallOptions): Promise<FileTraces>
  /** Throws unknown_key. */
  debugFile(file: FileRef, options?: CallOptions): Promise<FileTraces>
  replicateNow(options?: CallOptions): Promise<Replicated>
  /** How many jobs wait in each queue, and for how long. Reads all jobs. */
  listQueues(options?: CallOptions): Promise<QueueList>
  /** The numbers of files, as last counted. */
  stats(options?: CallOptions): Promise<FileCounts>
  /** The jobs of one queue that were given up, in order of their fids. */
  listStuck(query: StuckQuery, options?: CallOptions): Promise<StuckList>
  /** The devices that are being emptied, and how far each is. */
  listDrains(options?: CallOptions): Promise<DrainList>
  /** Begins to empty a device. Throws no_device, or invalid_state when it is not in service. */
  drainDevice(devid: number, options?: CallOptions): Promise<void>
  /** Throws no_device or not_draining. */
  undrainDevice(devid: number, options?: CallOptions): Promise<void>
  /** Throws host_not_found or invalid_state. */
  drainHost(name: string, options?: CallOptions): Promise<void>
  /** Throws host_not_found or not_draining. */
  undrainHost(name: string, options?: CallOptions): Promise<void>
  listScrubs(options?: CallOptions): Promise<ScrubInfo[]>
  /** Throws domain_not_found, class_not_found or no_device. */
  startScrub(scope?: NewScrub, options?: CallOptions): Promise<ScrubInfo>
  /** Throws scrub_not_found. */
  stopScrub(id: number, options?: CallOptions): Promise<void>
  listSweeps(options?: CallOptions): Promise<SweepList>
  /** The files that cannot be repaired, in order of their fids. */
  listDamage(query?: FidQuery, options?: CallOptions): Promise<DamageList>
  /** Who changed what, newest first. */
  audit(
    query?: { [name in keyof AuditQuery]?: AuditQuery[name] | undefined },
    options?: CallOptions,
  ): Promise<AuditTrail>
  /** Has one tracker reload its configuration and look at every device. */
  refresh(options?: CallOptions): Promise<void>
}

/** Creates the functions over a pool. */
export function createUpkeepApi({ request }: TrackerPool): UpkeepApi {
  const page = ({ after, limit }: FidQuery) => ({
    after: after === undefined ? undefined : String(after),
    limit: limit === undefined ? undefined : String(limit),
  })
  return {
    fsckStatus: options => request('GET', '/v1/fsck', options),
    startFsck: options => request('POST', '/v1/fsck/start', options),
    // Doing these twice has the effect of doing them once, so they may be sent again.
    stopFsck: options => request('POST', '/v1/fsck/stop', { idempotent: true, ...options }),
    resetFsck: (body, options) =>
      request('POST', '/v1/fsck/reset', { body, idempotent: true, ...options }),
    fsckLog: (query = {}, options) =>
      request('GET', '/v1/fsck/log', { query: page(query), ...options }),
    clearFsckLog: options => request('DELETE', '/v1/fsck/log', options),
    rebalanceStatus: options => request('GET', '/v1/rebalance', options),
    setRebalancePolicy: (policy, options) =>
      request('PUT', '/v1/rebalance/policy', { body: { policy }, ...options }),
    testRebalance: options =>
      request('POST', '/v1/rebalance/test', { idempotent: true, ...options }),
    startRebalance: options => request('POST', '/v1/rebalance/start', options),
    stopRebalance: options => request('POST', '/v1/rebalance/stop', options),
    resetRebalance: options =>
      request('POST', '/v1/rebalance/reset', { idempotent: true, ...options }),
    listFids: (query = {}, options) =>
      request('GET', '/v1/fids', { query: page(query), ...options }),
    debugFid: (fid, options) => request('GET', `/v1/fids/${fid}`, options),
    debugFile: async ({ domain, key }, options) =>
      await request('GET', `${domainPath(domain)}/debug`, { query: keyQuery(key), ...options }),
    listDrains: options => request('GET', '/v1/drains', options),
    drainDevice: (devid, options) =>
      request('POST', `/v1/devices/${devid}/drain`, { idempotent: true, ...options }),
    undrainDevice: (devid, options) => request('DELETE', `/v1/devices/${devid}/drain`, options),
    drainHost: (name, options) =>
      request('POST', `/v1/hosts/${segment(name)}/drain`, { idempotent: true, ...options }),
    undrainHost: (name, options) => request('DELETE', `/v1/hosts/${segment(name)}/drain`, options),
    listScrubs: options => request('GET', '/v1/scrubs', options),
    startScrub: (body = {}, options) => request('POST', '/v1/scrubs', { body, ...options }),
    stopScrub: (id, options) => request('DELETE', `/v1/scrubs/${id}`, options),
    listSweeps: options => request('GET', '/v1/sweeps', options),
    listDamage: (query = {}, options) =>
      request('GET', '/v1/damage', { query: page(query), ...options }),
    audit: ({ before, domain, action, limit } = {}, options) => {
      const query = {
        before,
        domain: domain === undefined ? undefined : segment(domain),
        action: action === undefined ? undefined : segment(action),
        limit: limit === undefined ? undefined : String(limit),
      }
      return request('GET', '/v1/audit', { query, ...options })
    },
    listQueues: options => request('GET', '/v1/queues', options),
    stats: options => request('GET', '/v1/stats', options),
    listStuck: ({ queue, ...query }, options) =>
      request('GET', '/v1/queues/stuck', { query: { queue, ...page(query) }, ...options }),
    replicateNow: options => request('POST', '/v1/replicate-now', { idempotent: true, ...options }),
    refresh: options =>
      request('POST', '/v1/refresh', { idempotent: true, extraMs: 10_000, ...options }),
  }
}
