/** Files that come in parts, over requests that may break off and over restarts of the node. */
import { createHash } from 'node:crypto'
import { constants, fstatSync, ftruncateSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { CodedError, isCoded } from '../common/errors.ts'
import { writeBody, type Body, type Written } from './body.ts'
import { agree } from './digests.ts'
import { hasErrno } from './errno.ts'
import { pausePoint } from './pause.ts'
import type { PartLocks } from './part-locks.ts'
import { fidExists, ignoreAbsent, type WriteOptions, type Writer } from './writer.ts'

/** A part of a file that is written piece by piece. */
export interface AppendOptions extends Omit<WriteOptions, 'size'> {
  /** Offset of the part's first byte. */
  readonly first: number
  /** Bytes of the part; 0 only asks what is there. */
  readonly length: number
  /** Bytes of the whole file; undefined where the sender does not say, and the name has what is there. */
  readonly total: number | undefined
}

/** A part of a file whose length is known. */
interface PartOptions extends AppendOptions {
  readonly total: number
}

/** What follows the name of a file that is written in parts. */
export const partSuffix = '.part'

/** Bytes of a part that are put in their place at once. */
const copyBytes = 512 * 1024

const isMissing = (have: number): CodedError =>
  new CodedError('range_not_satisfiable', `only ${have} bytes are there`)

export class PartWriter {
  readonly #writer: Writer
  readonly #locks: PartLocks

  constructor(writer: Writer, locks: PartLocks) {
    this.#writer = writer
    this.#locks = locks
  }

  /**
   * Writes one part of a file that gets its name when the last part is there. Parts come in order,
   * and one may be sent again. Returns the whole file's size and digests when it is complete, also
   * when it has been before, else how many bytes are there. Throws range_not_satisfiable for a part
   * beyond what is there, overloaded while another request writes a part of this file, and what
   * `Writer.write` throws.
   */
  async append(path: string, body: Body, options: AppendOptions): Promise<Written | number> {
    const { total } = options
    await this.#writer.checkPlace(path)
    const file = this.fileOf(path)
    if (!(await this.#locks.take(file))) {
      throw new CodedError('overloaded', 'another request is writing a part of this file')
    }
    try {
      return total === undefined
        ? await this.#extend(path, body, options)
        : await this.#fill({ file, path }, body, { ...options, total })
    } catch (err) {
      if (!hasErrno(err, 'ENOENT')) throw err
      throw new CodedError('range_not_satisfiable', 'what was there has been deleted meanwhile')
    } finally {
      this.#locks.give(file)
    }
  }

  /** Removes the parts of a file that is not complete, if there are any. */
  async drop(path: string): Promise<void> {
    await this.#writer.disk.unlink(this.fileOf(path)).catch(ignoreAbsent)
  }

  /** The absolute path of what has come of a file in parts. */
  fileOf(path: string): string {
    // A replica's name stands for its place; other names may be found in several.
    const place = path.endsWith('.fid')
      ? basename(path)
      : createHash('sha256').update(path).digest('hex')
    return this.#writer.tempFile(`${place}${partSuffix}`)
  }

  async #fill(
    { file, path }: { readonly file: string; readonly path: string },
    body: Body,
    options: PartOptions,
  ): Promise<Written | number> {
    const { disk, fsync } = this.#writer
    const { first, length, total } = options
    const fd = await this.#open(file, first === 0 && length > 0)
    if (fd === undefined) return this.#withoutParts(path, body, options)
    try {
      await pausePoint('part: opened')
      const before = fstatSync(fd).size
      if (first > before) throw isMissing(before)
      if (length > 0) await this.#write(fd, body, options)
      await pausePoint('part: written')
      const have = Math.max(before, first + length)
      // Who asks after all of it had come is told the end that the last part did not live to see.
      if (length > 0 ? first + length < total : have < total) return have
      if (have > total) ftruncateSync(fd, total)
      if (fsync) await this.#writer.flush(fd)
      await pausePoint('part: flushed')
      return await this.#complete({ file, path }, options)
    } finally {
      disk.close(fd)
    }
  }

  /** Undefined when there are no parts yet, and none are to be begun. */
  async #open(file: string, begin: boolean): Promise<number | undefined> {
    const flags = constants.O_RDWR | constants.O_NOFOLLOW
    if (begin) return this.#writer.openTemp(file, flags | constants.O_CREAT)
    return this.#writer.disk.open(file, flags).catch((err: unknown) => {
      if (!hasErrno(err, 'ENOENT')) throw err
      return undefined
    })
  }

  async #write(fd: number, body: Body, { first, length, pieceSize }: PartOptions): Promise<void> {
    const options = { position: first, pieceSize, algorithms: [] }
    const { size } = await writeBody(this.#writer.disk, fd, body, options)
    if (size !== length) throw new CodedError('size_mismatch', `${size} bytes came, not ${length}`)
  }

  /** Gives the file its name when its bytes are those that were announced. */
  async #complete(
    { file, path }: { readonly file: string; readonly path: string },
    { total, expected = {}, replace }: PartOptions,
  ): Promise<Written> {
    const { disk } = this.#writer
    const digests = await this.#writer.digest(file)
    const written = { size: total, digests }
    try {
      if (!agree(digests, expected)) {
        throw new CodedError('checksum_mismatch', 'the bytes are not those that were announced')
      }
      const named = await this.#writer.publish(file, path, { replace, written })
      if (!named) await disk.unlink(file).catch(ignoreAbsent)
    } catch (err) {
      // Nothing that could yet come would make them right.
      const wrong = isCoded(err, 'checksum_mismatch') || isCoded(err, 'fid_exists')
      if (wrong) await disk.unlink(file).catch(ignoreAbsent)
      throw err
    }
    return written
  }

  /**
   * Nothing has come yet, or the file is complete and the client has lost the answer that said so:
   * it asks, or sends the last part again.
   */
  async #withoutParts(
    path: string,
    body: Body,
    { first, length, total, expected = {}, replace }: PartOptions,
  ): Promise<Written | number> {
    const found = await this.#writer.checkPlace(path)
    if (found?.size === total) {
      const same =
        length === 0 || (first + length === total && (await this.#holds(path, body, first)))
      const digests = same ? await this.#writer.digest(this.#writer.placeOf(path)) : undefined
      if (digests && agree(digests, expected)) {
        // Who named it may have died before the name was flushed.
        await this.#writer.tree.flush(dirname(path))
        return { size: total, digests }
      }
    }
    if (found && !replace) throw fidExists()
    if (length > 0) throw isMissing(0)
    return 0
  }

  /** True when the bytes of `body` stand in the file at `first`. */
  async #holds(path: string, body: Body, first: number): Promise<boolean> {
    const { disk } = this.#writer
    const fd = await disk.open(
      this.#writer.placeOf(path),
      constants.O_RDONLY | constants.O_NOFOLLOW,
    )
    try {
      let position = first
      for await (const chunk of body) {
        const stored = Buffer.allocUnsafe(chunk.length)
        const read = await disk.read(fd, stored, { length: chunk.length, position })
        const same = read === chunk.length && stored.equals(chunk)
        body.release?.(chunk)
        if (!same) return false
        position += read
      }
      return position === fstatSync(fd).size
    } finally {
      disk.close(fd)
    }
  }

  /**
   * Writes a part into the file that has the name, as clients expect that keep a file open for
   * writing; returns its size. The part is received first, so that a client that leaves changes
   * nothing; a crash while it is put in its place may leave a piece of it, as it was not
   * acknowledged.
   */
  async #extend(path: string, body: Body, options: AppendOptions): Promise<number> {
    const { disk, fsync } = this.#writer
    const { first, length } = options
    const have = (await this.#writer.checkPlace(path))?.size
    if (first > (have ?? 0)) throw isMissing(have ?? 0)
    if (have === undefined) {
      const { size } = await this.#writer.write(path, body, { ...options, size: length })
      return size
    }
    const temp = await this.#writer.createTemp(path)
    let fd: number | undefined
    try {
      await this.#writer.fill(temp.fd, body, { ...options, size: length })
      await pausePoint('part: received')
      fd = await disk.open(this.#writer.placeOf(path), constants.O_RDWR | constants.O_NOFOLLOW)
      const piece = Buffer.allocUnsafe(Math.min(length, copyBytes))
      for (let done = 0; done < length;) {
        const read = await disk.read(temp.fd, piece, { length: piece.length, position: done })
        if (read === 0) throw new Error('a temporary file has become shorter')
        await disk.write(fd, [piece.subarray(0, read)], first + done)
        done += read
      }
      await pausePoint('part: in place')
      if (fsync) await this.#writer.flush(fd)
      return fstatSync(fd).size
    } finally {
      if (fd !== undefined) disk.close(fd)
      disk.close(temp.fd)
      await disk.unlink(temp.file).catch(() => {})
    }
  }
}
