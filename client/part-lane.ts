/**
 * A lane for a large file: its body goes to the node in parts, several at once, since one connection
 * alone does not fill a long line; and one that breaks costs what the node has not got of its part.
 * The pieces of the parts under way are kept until the node has them, so that also a stream, which
 * can be read once only, outlives a break.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CodedError, isCoded, type ErrorCode } from '../common/errors.ts'
import type { Lane, LaneEnd, UploadTarget } from './lane.ts'
import { PieceWindow } from './piece-window.ts'
import type { PutAnswer, StorageClient } from './storage.ts'

const mib = 1024 * 1024

/** Files of this size on go in parts: at their end the node reads them again for their digests. */
export const partedFrom = 64 * mib

/** Parts under way; the bytes of so many are kept in memory, once for all lanes of a put. */
const partsAtOnce = 4

/** Bytes of a part: 8 MiB, more for files that would have too many for the node to keep account of. */
const partBytesOf = (size: number): number => Math.max(8, Math.ceil(size / mib / 20_000)) * mib

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

interface Part {
  readonly end: number
  /** The node has the bytes before this. */
  at: number
  /** Bytes before this have been handed to a connection. */
  sent: number
}

/** Begins a put in parts of a body of `size` bytes that is given later. */
export function openPartLane(
  storage: StorageClient,
  target: UploadTarget,
  { size, onSent }: { readonly size: number; readonly onSent: (sent: number) => void },
): Lane {
  const abort = new AbortController()
  const { signal } = abort
  const { url } = target
  const partBytes = partBytesOf(size)
  const window = new PieceWindow()
  /** Those under way, in their order. */
  const parts = new Set<Part>()
  let begun = 0
  let whole: PutAnswer | undefined
  let failed = false
  let wakeGiver = (): void => {}
  let setConnected: (connected: boolean) => void = () => {}
  const connected = new Promise<boolean>(resolve => {
    setConnected = resolve
  })

  /** Where the first byte is that the node may not have got. */
  const floor = (): number => Math.min(begun, ...[...parts].map(({ at }) => at))

  const isWanted = (): boolean => window.given < Math.min(size, floor() + partsAtOnce * partBytes)

  function report(): void {
    const waiting = [...parts].reduce((sum, { sent, end }) => sum + end - sent, 0)
    onSent(begun - waiting)
  }

  async function* bytesOf(part: Part): AsyncGenerator<Uint8Array> {
    setConnected(true) // the HTTP client asks for them once it has a connection
    for await (const piece of window.read(part.at, part.end, signal)) {
      part.sent = Math.max(part.sent, part.at) + piece.length
      report()
      yield piece
    }
  }

  async function sendPart(part: Part): Promise<void> {
    let patientUntil: number | undefined // since the node went on last
    while (part.at < part.end) {
      const { at, end } = part
      try {
        part.sent = at
        const range = { first: at, total: size }
        const options = { size: end - at, part: range, signal }
        note(await storage.put(url, bytesOf(part), options))
        part.at = end
      } catch (err) {
        if (window.given === 0) throw err // another node can begin just as well
        patientUntil ??= performance.now() + patienceMs
        const answer = await resume(err, at, patientUntil)
        note(answer)
        const { offset = end } = answer // without one it is whole, and only its answer was lost
        if (offset > at) patientUntil = undefined
        else if (performance.now() > patientUntil) throw err
        part.at = Math.min(offset, end)
      }
    }
  }

  function note(answer: PutAnswer): void {
    if (answer.offset === undefined) whole = answer
  }

  /** What the node has got from `first` on. Throws why it does not tell when it is asked in vain until then. */
  async function resume(problem: unknown, first: number, until: number): Promise<PutAnswer> {
    for (let waitMs = 100; ; waitMs *= 2) {
      signal.throwIfAborted()
      if (!isCoded(problem) || !passing.includes(problem.code)) throw problem
      await sleep(waitMs * (0.75 + Math.random() / 2), undefined, { signal })
      try {
        return await storage.put(url, new Uint8Array(), { part: { first, total: size }, signal })
      } catch (err) {
        if (performance.now() + 2 * waitMs > until) throw err
        problem = err
      }
    }
  }

  /** Sends one part after another that no other has begun. */
  async function work(): Promise<void> {
    while (begun < size) {
      const first = begun
      const part = { at: first, sent: first, end: Math.min(first + partBytes, size) }
      begun = part.end
      parts.add(part)
      // The first one comes as the source gives it. Later ones would be waited for by their nodes for
      // as long as another lane is slower.
      if (first > 0) await window.reached(part.end - 1, signal)
      await sendPart(part)
      parts.delete(part)
      window.forget(floor())
      wakeGiver()
    }
  }

  async function send(): Promise<PutAnswer> {
    const workers = Array.from({ length: partsAtOnce }, work)
    try {
      await Promise.all(workers)
    } catch (err) {
      stop(err)
      await Promise.allSettled(workers)
      throw err
    }
    // The last two parts may have come to their ends side by side.
    whole ??= await resume(unfinished(), 0, performance.now() + patienceMs)
    if (whole.offset !== undefined) throw unfinished()
    return whole
  }

  const unfinished = (): CodedError =>
    new CodedError('storage_unreachable', `${target.host} does not have all parts`)

  function stop(reason: unknown): void {
    failed = true
    abort.abort(reason)
    window.wake()
    wakeGiver()
    setConnected(false)
  }

  const over = send().then(
    (answer): LaneEnd => ({ answer }),
    (error: unknown): LaneEnd => {
      stop(error)
      return { error }
    },
  )

  return {
    target,
    connected,
    over,
    isAlive: () => !failed,
    async ready() {
      while (!failed && window.given < size && !isWanted()) {
        await new Promise<void>(resolve => {
          wakeGiver = resolve
        })
      }
    },
    give(piece) {
      if (!failed) window.give(piece)
    },
    end() {}, // its length tells
    cancel: stop,
  }
}
