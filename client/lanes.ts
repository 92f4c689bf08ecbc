/** The lanes that one body goes out on, and how far it has got. */
import { openLane, type Lane, type UploadTarget } from './lane.ts'
import { openPartLane, partedFrom } from './part-lane.ts'
import type { StorageClient } from './storage.ts'

/** How far a put has got. */
export interface Progress {
  /** Bytes handed to the storage nodes so far, all copies. */
  readonly sent: number
  /** Of so many, where that is known. */
  readonly size?: number
}

export type OnProgress = (progress: Progress) => void

/** All lanes that a body was opened for, and how far it has got on the slowest that is alive. */
export class Lanes {
  readonly #size: number | undefined
  readonly #onProgress: OnProgress | undefined
  readonly #sent = new Map<Lane, number>()
  #told = 0
  #problem: { readonly err: unknown } | undefined

  constructor(size: number | undefined, onProgress: OnProgress | undefined) {
    this.#size = size
    this.#onProgress = onProgress
  }

  /** A large file goes in parts where the node takes them. */
  async open(storage: StorageClient, target: UploadTarget): Promise<Lane> {
    const size = this.#size
    const onSent = (sent: number): void => this.#report(lane, sent)
    const lane =
      size !== undefined && size >= partedFrom && (await takesParts(storage, target))
        ? openPartLane(storage, target, { size, onSent })
        : openLane(storage, target, { size, onSent })
    this.#sent.set(lane, 0)
    return lane
  }

  /** Throws what `onProgress` has thrown. */
  throwProblem(): void {
    if (this.#problem) throw this.#problem.err
  }

  cancel(reason: unknown): void {
    for (const lane of this.#sent.keys()) lane.cancel(reason)
  }

  async over(): Promise<void> {
    await Promise.all([...this.#sent.keys()].map(lane => lane.over))
  }

  #report(reporter: Lane, bytes: number): void {
    this.#sent.set(reporter, bytes)
    if (!this.#onProgress) return
    let least = bytes
    for (const [lane, sent] of this.#sent) if (lane.isAlive()) least = Math.min(least, sent)
    // What has to be sent again is not told twice.
    if (least <= this.#told) return
    this.#told = least
    try {
      this.#onProgress({ sent: least, ...(this.#size !== undefined && { size: this.#size }) })
    } catch (err) {
      this.#problem = { err }
      this.cancel(err)
    }
  }
}

/** A node that cannot be asked cannot be written to either: that is for the lane to find out. */
async function takesParts(storage: StorageClient, { url }: UploadTarget): Promise<boolean> {
  const can = await storage.capabilities(url).catch(() => undefined)
  return can?.has('content-range') === true
}
