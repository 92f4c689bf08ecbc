/** Who writes a part of which file: one request at a time, in whichever process it is. */
import type { Worker } from 'node:cluster'
import type { Answers, Talk } from './talk.ts'

/** Locks by name. */
export interface PartLocks {
  /** True when the lock is ours until `give`, false while another has it. */
  readonly take: (name: string) => boolean | Promise<boolean>
  readonly give: (name: string) => void
}

/** Locks of a process that serves alone. */
export function ownLocks(): PartLocks {
  const taken = new Set<string>()
  return {
    take: name => !taken.has(name) && taken.add(name).has(name),
    give: name => void taken.delete(name),
  }
}

/** Locks of one process among several, which the first one keeps. */
export function workerLocks(first: Talk): PartLocks {
  return {
    take: async name => (await first.ask('lock', name)) === true,
    give: name => void first.ask('unlock', name),
  }
}

/** Keeps the locks of all workers; what one holds is free when it ends. */
export function createLockKeeper(): (worker: Worker) => Answers {
  const holders = new Map<string, number>()
  return worker => {
    const give = (name: string): void => {
      if (holders.get(name) === worker.id) holders.delete(name)
    }
    worker.once('exit', () => {
      for (const name of holders.keys()) give(name)
    })
    return {
      lock: name => !holders.has(name) && holders.set(name, worker.id).has(name),
      unlock: give,
    }
  }
}
