/**
 * What has come of a file in parts: its bytes in their places, and behind them a record of which of
 * them are there. The record is a row of pairs of numbers (64 bits, floating point): first the size of
 * the whole file and a mark, then for each part the offset of its first byte and the one behind its
 * last. Pairs are only ever appended, which the system does one after another for all processes. A
 * file without a record has all its bytes: it is about to get its name.
 */
import { randomBytes } from 'node:crypto'
import { constants, fstatSync, ftruncateSync } from 'node:fs'
import { CodedError } from '../../common/errors.ts'
import type { Disk } from '../disk/disk.ts'
import { hasErrno } from '../disk/errno.ts'
import type { Writer } from './writer.ts'

/** What follows the name of such a file. */
export const partSuffix = '.part'

/** "omgpts" as a number. */
const mark = 0x6f_6d_67_70_74_73

const pairBytes = 16

/** All of the record is read for each part, so it has an end. */
const maxPairs = 100_000

export class PartFile {
  /** For reading and writing. */
  readonly fd: number
  /** Bytes of the whole file. */
  readonly total: number
  readonly #recordFd: number
  readonly #disk: Disk

  private constructor(
    disk: Disk,
    { fd, recordFd, total }: { fd: number; recordFd: number; total: number },
  ) {
    this.#disk = disk
    this.fd = fd
    this.#recordFd = recordFd
    this.total = total
  }

  /** Opens what has come of a file of `total` bytes; undefined when nothing has, or of another size. */
  static async open({ disk }: Writer, path: string, total: number): Promise<PartFile | undefined> {
    const fds: number[] = []
    const open = async (flags: number): Promise<number> => {
      const fd = await disk.open(path, flags | constants.O_NOFOLLOW)
      fds.push(fd)
      return fd
    }
    let found: PartFile | undefined
    try {
      const fd = await open(constants.O_RDWR)
      const recordFd = await open(constants.O_WRONLY | constants.O_APPEND)
      const opened = new PartFile(disk, { fd, recordFd, total })
      // It may have been replaced between the two.
      const isOne = fstatSync(fd).ino === fstatSync(recordFd).ino
      if (isOne && (await opened.#isOf(total))) found = opened
    } catch (err) {
      if (!hasErrno(err, 'ENOENT')) throw err
    } finally {
      if (!found) for (const fd of fds) disk.close(fd)
    }
    return found
  }

  /**
   * Opens it for the first part of a file of `total` bytes: the one that another part has just begun,
   * or a new one, also in place of what has come of a file of another size.
   */
  static async begin(writer: Writer, path: string, total: number): Promise<PartFile> {
    const { disk } = writer
    const temp = `${path}.${randomBytes(9).toString('hex')}`
    const fd = await writer.openTemp(temp, 'wx')
    try {
      await disk.write(fd, [pair(total, mark)], total)
      await disk.link(temp, path).catch((err: unknown) => {
        if (!hasErrno(err, 'EEXIST')) throw err
      })
      let begun = await PartFile.open(writer, path, total)
      if (!begun) {
        await disk.rename(temp, path)
        begun = await PartFile.open(writer, path, total)
      }
      if (!begun) throw deletedMeanwhile()
      return begun
    } finally {
      disk.close(fd)
      await disk.unlink(temp).catch(() => {}) // else it is swept
    }
  }

  /** Notes that bytes are there; `end` is behind the last. Throws bad_request for too many parts. */
  async record(first: number, end: number): Promise<void> {
    const pairs = this.#pairs
    if (end <= first || pairs === 0) return
    if (pairs >= maxPairs) {
      throw new CodedError('bad_request', `a file has at most ${maxPairs} parts`)
    }
    await this.#disk.append(this.#recordFd, pair(first, end))
  }

  /** Where the bytes end that are there without a gap from `first` on, and whether all are there. */
  async survey(first: number): Promise<{ readonly reach: number; readonly isWhole: boolean }> {
    const runs = await this.#runs()
    const reachFrom = (start: number): number => {
      let end = start
      for (const run of runs) {
        if (run.first > end) break
        end = Math.max(end, run.end)
      }
      return end
    }
    return { reach: reachFrom(first), isWhole: reachFrom(0) === this.total }
  }

  /** True when it has been deleted since it was opened. */
  get isGone(): boolean {
    return fstatSync(this.fd).nlink === 0
  }

  /** Takes the record off, when all bytes are there. */
  cut(): void {
    ftruncateSync(this.fd, this.total)
  }

  close(): void {
    this.#disk.close(this.fd)
    this.#disk.close(this.#recordFd)
  }

  get #pairs(): number {
    return Math.max(0, Math.floor((fstatSync(this.fd).size - this.total) / pairBytes))
  }

  async #isOf(total: number): Promise<boolean> {
    if (fstatSync(this.fd).size === total) return true
    if (this.#pairs === 0) return false
    const [size, marked] = await this.#read(1)
    return size === total && marked === mark
  }

  /** The bytes that are noted to be there, in the order of their first ones. */
  async #runs(): Promise<readonly { readonly first: number; readonly end: number }[]> {
    const pairs = this.#pairs
    if (pairs === 0) return [{ first: 0, end: this.total }]
    const numbers = await this.#read(pairs)
    const runs: { first: number; end: number }[] = []
    for (let i = 2; i < numbers.length; i += 2) {
      runs.push({ first: numbers[i]!, end: numbers[i + 1]! })
    }
    return runs.sort((a, b) => a.first - b.first)
  }

  /** The numbers of the first pairs. */
  async #read(pairs: number): Promise<Float64Array> {
    const bytes = Buffer.from(new ArrayBuffer(pairs * pairBytes))
    for (let done = 0; done < bytes.length;) {
      const place = { offset: done, length: bytes.length - done, position: this.total + done }
      const read = await this.#disk.read(this.fd, bytes, place)
      if (read === 0) throw deletedMeanwhile()
      done += read
    }
    return new Float64Array(bytes.buffer)
  }
}

/** Whoever sent parts of it begins anew. */
export const deletedMeanwhile = (): CodedError =>
  new CodedError('range_not_satisfiable', 'what was there has been deleted meanwhile')

const pair = (first: number, second: number): Buffer =>
  Buffer.from(Float64Array.of(first, second).buffer)
