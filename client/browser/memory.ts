/** What is remembered of an upload, so that it can go on when the page was closed in the middle. */
import type { StoredUpload, UploadTicket } from '../ticket.ts'

/** An upload under way. */
export interface Remembered {
  readonly ticket: UploadTicket
  /** Index of the target that is written to. */
  readonly target: number
  /** There once all bytes are. */
  readonly stored?: StoredUpload
}

/** Where it is remembered; `localStorage` is one. */
export type UploadMemory = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>

export interface Memory {
  read(): Remembered | undefined
  write(remembered: Remembered): void
  forget(): void
}

/** The memory of one upload. Where the browser allows none, nothing is remembered. */
export function createMemory(id: string, storage: UploadMemory | undefined): Memory {
  const name = `omgfiles:${id}`
  const quietly = <T>(run: (storage: UploadMemory) => T): T | undefined => {
    try {
      return run(storage ?? localStorage)
    } catch {
      return undefined // forbidden, full, or not ours
    }
  }
  return {
    read() {
      const found = quietly(s => JSON.parse(s.getItem(name) ?? 'null') as Remembered | null)
      // A minute is left for the commit.
      if (found && Date.parse(found.ticket.expiresAt) > Date.now() + 60_000) return found
      quietly(s => s.removeItem(name))
      return undefined
    },
    write: remembered => quietly(s => s.setItem(name, JSON.stringify(remembered))),
    forget: () => quietly(s => s.removeItem(name)),
  }
}

/** The same for the same file chosen again, as far as a page can know it. */
export function fingerprint(file: Blob): string {
  const { name = '', lastModified = 0 } = file as Partial<File>
  return `${name}/${file.size}/${lastModified}`
}
