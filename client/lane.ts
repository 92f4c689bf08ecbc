/** One body on its way to one storage node, fed from outside piece by piece. */
import type { OpenedUpload } from '../common/protocol/files.ts'
import { CodedError } from '../common/errors.ts'
import type { PutAnswer, StorageClient } from './storage.ts'

export type UploadTarget = OpenedUpload['targets'][number]

/** What became of a lane. */
export type LaneEnd = { readonly answer: PutAnswer } | { readonly error: unknown }

export interface Lane {
  readonly target: UploadTarget
  /** Resolves once the node's connection takes the body: true; or the put has failed: false. */
  readonly connected: Promise<boolean>
  /** Resolves when the put is over. Never rejects. */
  readonly over: Promise<LaneEnd>
  isAlive(): boolean
  /** Resolves when the lane can take a piece, or has failed. */
  ready(): Promise<void>
  /** Hands on a piece; only when ready. Ignored by a lane that has failed. */
  give(piece: Uint8Array): void
  /** The body is complete; only when ready. `over` then tells what the node says. */
  end(): void
  /** Breaks the request off, so that the node drops what it has. */
  cancel(reason: unknown): void
}

type Piece = IteratorResult<Uint8Array, undefined>

/** The HTTP client's open question for the next piece. */
interface Pull {
  resolve(piece: Piece): void
  reject(reason: unknown): void
}

/** Begins a put whose body is given later. `size` is its length where known; `onSent` is told how far it is. */
export function openLane(
  storage: StorageClient,
  target: UploadTarget,
  { size, onSent }: { readonly size: number | undefined; readonly onSent: (sent: number) => void },
): Lane {
  const abort = new AbortController()
  let pull: Pull | undefined
  let state: 'open' | 'ended' | 'failed' = 'open'
  let given = 0
  let wake = (): void => {}
  let setConnected: (connected: boolean) => void = () => {}
  const connected = new Promise<boolean>(resolve => {
    setConnected = resolve
  })

  // The HTTP client asks for the first piece when it has a connection, and for each further one
  // when the socket has room again: this is the back-pressure.
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise((resolve, reject) => {
          pull = { resolve, reject }
          setConnected(true)
          wake()
        }),
      return: () => Promise.resolve({ done: true, value: undefined }),
    }),
  }

  function fail(error: unknown): LaneEnd {
    state = 'failed'
    pull?.reject(error)
    pull = undefined
    setConnected(false)
    wake()
    return { error }
  }

  const over = storage.put(target.url, body, { size, signal: abort.signal }).then(
    (answer): LaneEnd => {
      // The node may answer when it has all bytes, before the HTTP client asks what follows them.
      if (given === size) end()
      if (state === 'ended') return { answer }
      const { host } = target
      return fail(new CodedError('storage_unreachable', `${host} answered before the body's end`))
    },
    (error: unknown): LaneEnd => fail(error),
  )

  function settle(piece: Piece): void {
    const pulled = pull
    pull = undefined
    pulled?.resolve(piece)
  }

  function end(): void {
    if (state !== 'open') return
    state = 'ended'
    settle({ done: true, value: undefined })
    wake()
  }

  return {
    target,
    connected,
    over,
    isAlive: () => state !== 'failed',
    async ready() {
      if (pull || state !== 'open') return
      await new Promise<void>(resolve => {
        wake = resolve
      })
    },
    give(piece) {
      given += piece.length
      settle({ done: false, value: piece })
      if (state === 'open') onSent(given)
    },
    end,
    cancel(reason) {
      abort.abort(reason)
      fail(reason)
    },
  }
}
