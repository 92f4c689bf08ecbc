/** Who writes a part of which file: one request at a time, in whichever process it is. */
import type { Worker } from 'node:cluster'

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

interface Question {
  readonly lock: string
  readonly id: number
}

interface Answer {
  readonly locked: boolean
  readonly id: number
}

/** Locks of one process among several, which the first one keeps. */
export function workerLocks(): PartLocks & { readonly close: () => void } {
  const waiting = new Map<number, (locked: boolean) => void>()
  let count = 0
  const onMessage = ({ id, locked }: Partial<Answer>): void => {
    if (id === undefined || locked === undefined) return
    waiting.get(id)?.(locked)
    waiting.delete(id)
  }
  process.on('message', onMessage)
  return {
    take: lock =>
      new Promise(resolve => {
        const question: Question = { lock, id: ++count }
        waiting.set(question.id, resolve)
        process.send?.(question)
      }),
    give: unlock => void process.send?.({ unlock }),
    close: () => void process.off('message', onMessage),
  }
}

/** Keeps the locks of all workers; what one holds is free when it ends. */
export function createLockKeeper(): (worker: Worker) => void {
  const holders = new Map<string, number>()
  return worker => {
    const give = (name: string): void => {
      if (holders.get(name) === worker.id) holders.delete(name)
    }
    worker.on('message', ({ lock, unlock, id }: Partial<Question> & { unlock?: string }) => {
      if (unlock !== undefined) give(unlock)
      if (lock === undefined || id === undefined) return
      const locked = !holders.has(lock)
      if (locked) holders.set(lock, worker.id)
      worker.send({ id, locked } satisfies Answer, () => {})
    })
    worker.once('exit', () => {
      for (const name of holders.keys()) give(name)
    })
  }
}
