/** Who writes which bytes of a file in parts: no byte by two requests, in whichever process they are. */
import type { Worker } from 'node:cluster'
import type { Answers, Talk } from '../processes/talk.ts'

/** Bytes of a file: from `first` on, up to `end`, which is not one of them. */
export interface LockedRange {
  readonly file: string
  readonly first: number
  readonly end: number
}

export interface PartLocks {
  /** True when the bytes are ours until `give`, false while another has one of them. */
  readonly take: (range: LockedRange) => boolean | Promise<boolean>
  /** They are free when this resolves. */
  readonly give: (range: LockedRange) => void | Promise<void>
}

interface HeldRange extends LockedRange {
  readonly holder: number
}

class HeldRanges {
  readonly #byFile = new Map<string, HeldRange[]>()

  take({ file, first, end }: LockedRange, holder: number): boolean {
    const held = this.#byFile.get(file) ?? []
    if (held.some(other => first < other.end && other.first < end)) return false
    this.#byFile.set(file, [...held, { file, first, end, holder }])
    return true
  }

  give({ file, first, end }: LockedRange, holder: number): void {
    this.#keep(file, held => held.holder !== holder || held.first !== first || held.end !== end)
  }

  giveAll(holder: number): void {
    for (const file of this.#byFile.keys()) this.#keep(file, held => held.holder !== holder)
  }

  #keep(file: string, isKept: (range: HeldRange) => boolean): void {
    const kept = this.#byFile.get(file)?.filter(isKept) ?? []
    if (kept.length > 0) this.#byFile.set(file, kept)
    else this.#byFile.delete(file)
  }
}

/** Locks of a process that serves alone. */
export function ownLocks(): PartLocks {
  const ranges = new HeldRanges()
  return { take: range => ranges.take(range, 0), give: range => ranges.give(range, 0) }
}

/** Locks of one process among several, which the first one keeps. */
export function workerLocks(first: Talk): PartLocks {
  return {
    take: async range => (await first.ask('lock', JSON.stringify(range))) === true,
    give: async range => void (await first.ask('unlock', JSON.stringify(range))),
  }
}

/** Keeps the locks of all workers; what one holds is free when it ends. */
export function createLockKeeper(): (worker: Worker) => Answers {
  const ranges = new HeldRanges()
  return worker => {
    worker.once('exit', () => ranges.giveAll(worker.id))
    return {
      lock: about => ranges.take(JSON.parse(about) as LockedRange, worker.id),
      unlock: about => ranges.give(JSON.parse(about) as LockedRange, worker.id),
    }
  }
}
