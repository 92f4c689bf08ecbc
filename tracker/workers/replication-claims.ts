/**
 * Replications that this process has claimed, and what is written down under such a claim. A file that
 * is renamed meanwhile is filed elsewhere, and its job with it: the claim goes on there. One that is
 * asked for again, since its class has changed for one, is claimed anew, and looked at anew.
 */
import { createBatcher } from '../store/batch.ts'
import type { Db } from '../store/db.ts'
import { findSlots } from '../store/files.ts'
import {
  extendReplication,
  followReplication,
  reclaimReplication,
  removeReplications,
  type ReplicateJob,
} from '../store/jobs.ts'
import {
  listReplicaStates,
  recordReplicas,
  replicaKeys,
  type NewReplica,
  type ReplicaState,
} from '../store/replicas.ts'

export interface Claim extends ReplicateJob {
  /** Something has changed about the file since it was last read: nothing is to be concluded from that. */
  stale: boolean
}

/** A copy that was recorded: the devices of the file then, and whether its job is over. */
export interface Recorded {
  readonly devids: number[]
  readonly ended: boolean
}

export interface Claims {
  /** The file of a job, read anew. Undefined when it is gone, or the job somebody else's. */
  find(job: Claim): Promise<ReplicaState | undefined>
  /** The same for a file that was looked for already, and is not where the job has it. */
  findRenamed(job: Claim): Promise<ReplicaState | undefined>
  /** Goes on with a claim. False: it is over, or somebody else has it. */
  extend(job: Claim): Promise<boolean>
  /** Takes over what this process has claimed of the same file once more. */
  renew(job: Claim, again: ReplicateJob): void
  /** See `recordReplicas`. A stale claim is not ended, `last` or not. */
  record(job: Claim, copy: Omit<NewReplica, 'slot' | 'lease'>): Promise<Recorded | undefined>
  /** Ends a job, unless it was asked for again meanwhile. */
  finish(job: ReplicateJob): Promise<void>
}

/** Creates it; what is asked of it at a time shares statements. */
export function createClaims(db: Db): Claims {
  const record = createBatcher({
    limit: 100,
    parallel: 2,
    keysOf: replicaKeys,
    run: (replicas: readonly NewReplica[]) => recordReplicas(db, replicas),
  })
  const finish = createBatcher({
    limit: 200,
    parallel: 2,
    run: async (jobs: readonly ReplicateJob[]) => {
      await removeReplications(db, jobs)
      return jobs.map(() => undefined)
    },
  })
  const slotOf = createBatcher({
    limit: 200,
    parallel: 2,
    run: (fids: readonly number[]) => findSlots(db, fids),
  })
  /** True when a claim that did not hold any more under `lease` goes on all the same. */
  const goOn = async (job: Claim, lease: string): Promise<boolean> => {
    const slot = await slotOf(job.fid)
    if (slot === undefined) return false
    if (job.lease !== lease) return true
    const there = { ...job, slot }
    const brought = slot !== job.slot && (await followReplication(db, job, slot))
    if (!brought && !(await reclaimReplication(db, there))) return job.lease !== lease
    Object.assign(job, { ...there, stale: true })
    return true
  }
  const read = async (job: Claim): Promise<ReplicaState | undefined> => {
    job.stale = false
    return (await listReplicaStates(db, [job]))[0]
  }
  const findRenamed = async (job: Claim): Promise<ReplicaState | undefined> => {
    const { lease } = job
    const slot = await slotOf(job.fid)
    if (slot === undefined) return undefined
    return slot === job.slot || (await goOn(job, lease)) ? read(job) : undefined
  }
  return {
    async find(job) {
      return (await read(job)) ?? findRenamed(job)
    },
    findRenamed,
    async extend(job) {
      const { lease } = job
      return (
        (await extendReplication(db, job)) ||
        ((await goOn(job, lease)) && extendReplication(db, job))
      )
    },
    renew(job, { slot, lease, attempts }) {
      Object.assign(job, { slot, lease, attempts, stale: true })
    },
    async record(job, copy) {
      const { slot, lease } = job
      const ended = copy.last && !job.stale
      const devids = await record({ ...copy, last: ended, slot, lease })
      if (devids) return { devids, ended }
      if (!(await goOn(job, lease))) return undefined
      const later = await record({ ...copy, last: false, slot: job.slot, lease: job.lease })
      return later && { devids: later, ended: false }
    },
    finish,
  }
}
