/** The file calls that a device makes, each through its gate. Paths are absolute. */
import fs, { type Stats, type StatsFs } from 'node:fs'
import { DiskThread } from './disk-thread.ts'
import type { Created, Stated } from './disk-worker.ts'
import { Gate, type GateOptions } from './gate.ts'

export type { Created, Stated } from './disk-worker.ts'

/** Calls on names that are made one by one, or with others. */
export type NameCalls = Pick<Disk, 'link' | 'rename' | 'unlink'>

/** More than this is not sent to the thread, but written from where it is. */
const maxSentBytes = 16 * 1024
const none = new Uint8Array(0)

export class Disk {
  readonly #gate: Gate
  readonly #thread: DiskThread
  /** The same calls for who works on many small files: each goes with what else comes. */
  readonly together: NameCalls

  /** `directory` is the one that is looked at to find out whether a hung disk answers again. */
  constructor(devid: number, directory: string, options?: GateOptions) {
    this.#gate = new Gate(devid, done => fs.stat(directory, done), options)
    const thread = new DiskThread(start => this.#gate.run(start))
    this.#thread = thread
    this.together = {
      link: (from, to) => thread.call(['link', from, to]),
      rename: (from, to) => thread.call(['rename', from, to]),
      unlink: path => thread.call(['unlink', path]),
    }
  }

  /** Ends the thread that works for those calls. */
  end(): void {
    void this.#thread.close()
  }

  /**
   * Makes a file that was not there with all of `bytes`; goes with what else comes. Nothing but a
   * regular file may be at `place`, where it is to go: EISDIR, ELOOP.
   */
  async create(path: string, bytes: Buffer, place?: string): Promise<Created> {
    const isSent = bytes.length <= maxSentBytes
    // Copied, since with a buffer all of the memory that it is a part of would be sent.
    const sent = isSent ? new Uint8Array(bytes) : none
    const created = await this.#thread.call<Created>(['create', path, sent, place])
    if (isSent) return created
    try {
      await this.write(created.fd, [bytes], 0)
      return created
    } catch (err) {
      this.close(created.fd)
      await this.unlink(path).catch(() => {}) // else it is swept
      throw err
    }
  }

  /**
   * Removes a file and what has come of it in `parts`; goes with what else comes. False: it is no
   * regular file, and stays.
   */
  remove(parts: string, path: string): Promise<boolean> {
    return this.#thread.call(['remove', parts, path])
  }

  /** Looks at many names in a directory; goes with what else comes. */
  statAll(directory: string, names: readonly string[]): Promise<Stated> {
    return this.#thread.call(['stat', directory, names])
  }

  /** True while the disk does not answer. */
  get hung(): boolean {
    return this.#gate.hung
  }

  /** How many calls may be under way. */
  set fileCalls(calls: number) {
    this.#gate.limit = calls
  }

  open(path: string, flags: number | string, mode?: number): Promise<number> {
    return this.#gate.run(done => fs.open(path, flags, mode, done))
  }

  /** Never waits and never fails: what was written is flushed before, or not wanted. */
  close(fd: number): void {
    fs.close(fd, () => {})
  }

  /** The same without a turn in the thread pool, where nothing is left to do but to forget the descriptor. */
  closeNow(fd: number): void {
    fs.closeSync(fd)
  }

  /** Returns the bytes read, 0 at the end of the file. */
  read(
    fd: number,
    buffer: Buffer,
    { offset = 0, length, position }: { offset?: number; length: number; position: number },
  ): Promise<number> {
    return this.#gate.run(done => fs.read(fd, buffer, offset, length, position, done))
  }

  /** The same without a turn in the thread pool, for what is known to be in memory. */
  readNow(
    fd: number,
    buffer: Buffer,
    { offset = 0, length, position }: { offset?: number; length: number; position: number },
  ): number {
    return fs.readSync(fd, buffer, offset, length, position)
  }

  /** Writes all of `buffers` at `position`. */
  async write(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
    const size = buffers.reduce((sum, { length }) => sum + length, 0)
    if (size === 0) return
    const written = await this.#gate.run<number>(done =>
      buffers.length === 1
        ? fs.write(fd, buffers[0]!, 0, size, position, done)
        : fs.writev(fd, buffers, position, done),
    )
    if (written === size) return
    // A disk that fills up takes a part first; what is left brings out the error.
    const rest = Buffer.concat(buffers).subarray(written)
    await this.write(fd, [rest], position + written)
  }

  /** Writes a few bytes in one call to the end of a file that is open for appending. */
  async append(fd: number, bytes: Buffer): Promise<void> {
    await this.#gate.run<number>(done => fs.write(fd, bytes, 0, bytes.length, null, done))
  }

  /** Flushes a file: its bytes and what it takes to read them, not its times. */
  datasync(fd: number): Promise<void> {
    return this.#gate.run(done => fs.fdatasync(fd, done))
  }

  /** Flushes a directory. */
  sync(fd: number): Promise<void> {
    return this.#gate.run(done => fs.fsync(fd, done))
  }

  stat(path: string): Promise<Stats> {
    return this.#gate.run(done => fs.stat(path, done))
  }

  lstat(path: string): Promise<Stats> {
    return this.#gate.run(done => fs.lstat(path, done))
  }

  statfs(path: string): Promise<StatsFs> {
    return this.#gate.run(done => fs.statfs(path, done))
  }

  realpath(path: string): Promise<string> {
    return this.#gate.run(done => fs.realpath.native(path, done))
  }

  readdir(path: string): Promise<string[]> {
    return this.#gate.run(done => fs.readdir(path, done))
  }

  mkdir(path: string): Promise<void> {
    return this.#gate.run(done => fs.mkdir(path, 0o755, done))
  }

  /** Removes an empty directory. */
  rmdir(path: string): Promise<void> {
    return this.#gate.run(done => fs.rmdir(path, done))
  }

  rename(from: string, to: string): Promise<void> {
    return this.#gate.run(done => fs.rename(from, to, done))
  }

  link(from: string, to: string): Promise<void> {
    return this.#gate.run(done => fs.link(from, to, done))
  }

  unlink(path: string): Promise<void> {
    return this.#gate.run(done => fs.unlink(path, done))
  }
}
