/**
 * A lane for a large file: its body goes to the node in parts, and a connection that breaks costs
 * what the node has not got of one part. The pieces of that part are kept until the node has them,
 * so that also a stream, which can be read once only, outlives a break.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isCoded, type ErrorCode } from '../common/errors.ts'
import type { Lane, LaneEnd, UploadTarget } from './lane.ts'
import type { PutAnswer, StorageClient } from './storage.ts'

/** Bytes of a part, and with it what a lane keeps in memory at most. */
const partBytes = 16 * 1024 * 1024

/** Files of this size on go in parts: at their end the node reads them again for their digests. */
export const partedFrom = 4 * partBytes

/** How long a node that does not go on is asked again, in milliseconds. */
const patienceMs = 10_000

/** Failures of a part that may pass. */
const passing: readonly ErrorCode[] = [
  'storage_unreachable',
  'overloaded', // the node has not noticed the broken connection yet
  'shutting_down',
  'request_timeout',
  'size_mismatch', // the connection broke behind a proxy, which ended the part
]

/** Begins a put in parts of a body of `size` bytes that is given later. */
export function openPartLane(storage: StorageClient, target: UploadTarget, size: number): Lane {
  const abort = new AbortController()
  const { signal } = abort
  const { url } = target
  const kept: Uint8Array[] = []
  let keptFrom = 0
  let given = 0
  let wanting = false
  let failed = false
  let wakeGiver = (): void => {}
  let wakeTaker = (): void => {}
  let setConnected: (connected: boolean) => void = () => {}
  const connected = new Promise<boolean>(resolve => {
    setConnected = resolve
  })

  /** The bytes from `first` to `end`: those kept, then those that are yet to be given. */
  async function* bytes(first: number, end: number): AsyncGenerator<Uint8Array> {
    setConnected(true) // the HTTP client asks for them once it has a connection
    let at = keptFrom
    for (let next = 0; at < end;) {
      const piece = kept[next]
      if (piece) {
        next++
        const part = piece.subarray(Math.max(first - at, 0), end - at)
        at += piece.length
        if (part.length > 0) yield part
        continue
      }
      wanting = true
      wakeGiver()
      await new Promise<void>(resolve => {
        wakeTaker = resolve
      })
      signal.throwIfAborted()
    }
  }

  function forget(before: number): void {
    for (let piece = kept[0]; piece && keptFrom + piece.length <= before; piece = kept[0]) {
      keptFrom += piece.length
      kept.shift()
    }
  }

  async function send(): Promise<PutAnswer> {
    let at = 0
    let patientUntil: number | undefined // since the node went on last
    for (;;) {
      const end = Math.min(at + partBytes, size)
      try {
        const part = { first: at, total: size }
        const answer = await storage.put(url, bytes(at, end), { size: end - at, part, signal })
        if (end === size) return answer
        at = end
        patientUntil = undefined
      } catch (err) {
        if (given === 0) throw err // another node can begin just as well
        patientUntil ??= performance.now() + patienceMs
        const { receipt, offset, ...rest } = await resume(err, patientUntil)
        if (receipt !== undefined) return { receipt, ...rest } // only its answer had been lost
        if (offset === undefined || offset < keptFrom) throw err // what it lost is not here any more
        if (offset > at) patientUntil = undefined
        else if (performance.now() > patientUntil) throw err
        at = Math.min(offset, given)
      }
      forget(at)
    }
  }

  /** What the node has got. Throws why it does not tell when it is asked in vain until then. */
  async function resume(problem: unknown, until: number): Promise<PutAnswer> {
    for (let waitMs = 100; ; waitMs *= 2) {
      signal.throwIfAborted()
      if (!isCoded(problem) || !passing.includes(problem.code)) throw problem
      await sleep(waitMs * (0.75 + Math.random() / 2), undefined, { signal })
      try {
        const part = { first: 0, total: size }
        return await storage.put(url, new Uint8Array(), { part, signal })
      } catch (err) {
        if (performance.now() + 2 * waitMs > until) throw err
        problem = err
      }
    }
  }

  const over = send().then(
    (answer): LaneEnd => ({ answer }),
    (error: unknown): LaneEnd => {
      failed = true
      setConnected(false)
      wakeGiver()
      return { error }
    },
  )

  return {
    target,
    connected,
    over,
    isAlive: () => !failed,
    async ready() {
      if (wanting || failed || given === size) return
      await new Promise<void>(resolve => {
        wakeGiver = resolve
      })
    },
    give(piece) {
      if (failed) return
      wanting = false
      kept.push(piece)
      given += piece.length
      wakeTaker()
    },
    end() {}, // its length tells
    cancel(reason) {
      failed = true
      abort.abort(reason)
      wakeTaker()
      wakeGiver()
      setConnected(false)
    },
  }
}
