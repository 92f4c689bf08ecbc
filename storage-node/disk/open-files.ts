/**
 * Files that stay open between requests. Opening, asking for the length and closing cost three turns
 * in the thread pool, which is most of the work of sending a small file. Whether the name still stands
 * for this file and how long it is, is asked of the descriptor before each use: that never touches
 * the disk; a file that was deleted or replaced has no name left, and one that was written to, renamed
 * or set aside has another time of change.
 */
import { constants, fstatSync, type Stats } from 'node:fs'
import type { Disk } from './disk.ts'

/** A file open for reading. Whoever got it calls `release` once. */
export interface OpenFile {
  readonly fd: number
  readonly size: number
  readonly modifiedAt: Date
}

interface Entry {
  readonly path: string
  readonly disk: Disk
  readonly fd: number
  readonly file: OpenFile
  readonly ctimeMs: number
  users: number
  /** In the table; else it is closed with its last user. */
  kept: boolean
  usedAt: number
  /** Until then what was read of it is taken to be in memory still. */
  warmUntil: number
}

const maxOpen = 512
const maxSeen = 4096

/** A descriptor keeps its disk from being unmounted: it stays only as long as the file is wanted. */
const idleMs = 1_000

const warmMs = 1_000
const maxWarmBytes = 64 * 1024

// Without O_NONBLOCK the opening of a FIFO would wait for its writer.
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export class OpenFiles {
  readonly #kept = new Map<string, Entry>()
  readonly #entries = new WeakMap<OpenFile, Entry>()
  /** Files asked for once lately: only the second time is worth keeping one open. */
  #seen = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** A file that is open already and still what its name stands for. Never waits. */
  find(path: string): OpenFile | undefined {
    const entry = this.#kept.get(path)
    if (!entry) return undefined
    const found = statOf(entry.fd)
    if (
      !found ||
      found.nlink === 0 ||
      found.size !== entry.file.size ||
      found.ctimeMs !== entry.ctimeMs
    ) {
      this.#drop(entry)
      return undefined
    }
    entry.users++
    entry.usedAt = performance.now()
    return entry.file
  }

  /**
   * Opens what is at `path` (absolute). `isFile` is false for anything but a regular file, which is
   * closed at once. Throws what the system says.
   */
  async open(path: string, disk: Disk): Promise<OpenFile | 'not a file'> {
    const found = this.find(path)
    if (found) return found
    const fd = await disk.open(path, flags)
    const stats = statOf(fd)
    if (!stats?.isFile()) {
      disk.close(fd)
      return 'not a file'
    }
    const file = { fd, size: stats.size, modifiedAt: stats.mtime }
    const { ctimeMs } = stats
    const entry = {
      path,
      disk,
      fd,
      file,
      ctimeMs,
      users: 1,
      kept: false,
      usedAt: performance.now(),
      warmUntil: 0,
    }
    this.#entries.set(file, entry)
    if (this.#isWanted(path)) this.#keep(entry)
    return entry.file
  }

  /** The path that a file was opened by. */
  pathOf(file: OpenFile): string {
    return this.#entries.get(file)?.path ?? ''
  }

  /** Gives back what `find` or `open` gave. */
  release(file: OpenFile): void {
    const entry = this.#entries.get(file)
    if (!entry) return
    entry.users--
    if (entry.users === 0 && !entry.kept) entry.disk.close(entry.fd)
  }

  /**
   * True when a file that is small enough was read from the disk within the last second, so that the
   * system has it in memory and another read will not wait for the disk.
   */
  isWarm(file: OpenFile): boolean {
    return (this.#entries.get(file)?.warmUntil ?? 0) > performance.now()
  }

  /** Notes that all of a file was read from the disk just now. */
  warm(file: OpenFile): void {
    const entry = this.#entries.get(file)
    if (entry?.kept && file.size <= maxWarmBytes) entry.warmUntil = performance.now() + warmMs
  }

  /** Closes what nobody uses, and keeps nothing open any more. */
  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    for (const entry of this.#kept.values()) this.#drop(entry)
  }

  #isWanted(path: string): boolean {
    if (this.#closed) return false
    if (this.#seen.delete(path)) return true
    if (this.#seen.size >= maxSeen) this.#seen = new Set()
    this.#seen.add(path)
    return false
  }

  #keep(entry: Entry): void {
    const other = this.#kept.get(entry.path)
    if (other) this.#drop(other)
    if (this.#kept.size >= maxOpen) {
      const [oldest] = this.#kept.values()
      if (oldest) this.#drop(oldest)
    }
    entry.kept = true
    this.#kept.set(entry.path, entry)
    this.#timer ??= setInterval(() => this.#closeIdle(), idleMs / 2).unref()
  }

  #closeIdle(): void {
    const before = performance.now() - idleMs
    for (const entry of this.#kept.values()) {
      if (entry.usedAt < before) this.#drop(entry)
    }
    // What was asked for before counts for two rounds at most.
    this.#seen.clear()
    if (this.#kept.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #drop(entry: Entry): void {
    entry.kept = false
    this.#kept.delete(entry.path)
    if (entry.users === 0) entry.disk.close(entry.fd)
  }
}

function statOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd)
  } catch {
    return undefined
  }
}
