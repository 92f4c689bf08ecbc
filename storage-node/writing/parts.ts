/** Files that come in parts, over requests that may break off and over restarts of the node. */
import { createHash } from 'node:crypto'
import { constants, fstatSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { CodedError, isCoded } from '../../common/errors.ts'
import { writePieces, type Body, type Written } from './body.ts'
import { agree } from '../digests/digests.ts'
import { hasErrno } from '../disk/errno.ts'
import { pausePoint } from './pause.ts'
import { deletedMeanwhile, PartFile, partSuffix } from './part-file.ts'
import type { LockedRange, PartLocks } from './part-locks.ts'
import { fidExists, ignoreAbsent, type WriteOptions, type Writer } from './writer.ts'

/** A part of a file. */
export interface PartOptions extends Omit<WriteOptions, 'size'> {
  /** Offset of the part's first byte. */
  readonly first: number
  /** Bytes of the part; 0 only asks what is there from `first` on. */
  readonly length: number
  /** Bytes of the whole file; undefined where the sender does not say, and the name has what is there. */
  readonly total: number | undefined
}

/** A part of a file whose length is known. */
interface KnownPart extends PartOptions {
  readonly total: number
}

/** The file that is served, and the one that its parts are collected in. */
interface Place {
  readonly path: string
  readonly file: string
}

/** Bytes of a part that are put in their place at once. */
const copyBytes = 512 * 1024

export class PartWriter {
  readonly #writer: Writer
  readonly #locks: PartLocks

  constructor(writer: Writer, locks: PartLocks) {
    this.#writer = writer
    this.#locks = locks
  }

  /**
   * Writes one part of a file that gets its name when all parts are there. They may come in any
   * order, several at once, and again. Returns the whole file's size and digests when it is complete,
   * also when it has been before, else where the bytes end that are there without a gap from the
   * part's first on. Throws overloaded while another request writes some of these bytes (for a
   * question: the first that is missing), range_not_satisfiable when what was there is deleted
   * meanwhile or, for a file of unknown length, for a part beyond what is there, and what
   * `Writer.write` throws.
   */
  async put(path: string, body: Body, options: PartOptions): Promise<Written | number> {
    await this.#writer.checkPlace(path)
    const place = { path, file: this.fileOf(path) }
    const { length, total } = options
    try {
      if (total === undefined) return await this.#extend(place, body, options)
      const part = { ...options, total }
      return length === 0 ? await this.#ask(place, body, part) : await this.#add(place, body, part)
    } catch (err) {
      throw hasErrno(err, 'ENOENT') ? deletedMeanwhile() : err
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

  async #ask(place: Place, body: Body, part: KnownPart): Promise<Written | number> {
    const { first, total } = part
    const parts = await PartFile.open(this.#writer, place.file, total)
    if (!parts) return (await this.#named(place.path, body, part)) ?? 0
    const { reach, isWhole } = await parts.survey(first).finally(() => parts.close())
    if (isWhole) return this.#holding({ file: place.file }, () => this.#complete(place, body, part))
    // Whoever writes there has not noticed yet that its client is gone, or it is not gone.
    const next = { file: place.file, first: reach, end: reach + 1 }
    return this.#holding(next, async () => reach)
  }

  async #add(place: Place, body: Body, part: KnownPart): Promise<Written | number> {
    const { first, length, total } = part
    const range = { file: place.file, first, end: first + length }
    const found = await this.#holding(range, async () => {
      let parts = await PartFile.open(this.#writer, place.file, total)
      if (!parts) {
        const named = await this.#named(place.path, body, part)
        if (named) return named
        parts = await PartFile.begin(this.#writer, place.file, total)
      }
      await this.#receive(parts, body, part).catch((err: unknown) => {
        parts.close()
        throw err
      })
      return parts
    })
    if (!(found instanceof PartFile)) return found
    // It is looked at when the bytes are given free: whoever does that last finds all parts there,
    // and nobody at work on them.
    const { reach, isWhole } = await found.survey(first).finally(() => found.close())
    if (!isWhole) return reach
    try {
      return await this.#holding({ file: place.file }, () => this.#complete(place, body, part))
    } catch (err) {
      if (isCoded(err, 'overloaded')) return reach
      throw err
    }
  }

  /** Writes a part in its place and notes it, also as much as has come of one that breaks off. */
  async #receive(parts: PartFile, body: Body, part: KnownPart): Promise<void> {
    const { first, length, pieceSize } = part
    const { disk, fsync } = this.#writer
    await pausePoint('part: opened')
    let there = 0
    const onWritten = (size: number): void => {
      there = Math.min(size, length)
    }
    try {
      const options = { position: first, size: length, pieceSize, onWritten }
      const size = await writePieces(disk, parts.fd, body, options)
      if (size !== length) {
        throw new CodedError('size_mismatch', `${size} bytes came, not ${length}`)
      }
      await pausePoint('part: written')
    } finally {
      // A note that outlives a power cut must be true then.
      if (fsync && there > 0) await this.#writer.flush(parts.fd)
      await parts.record(first, first + there)
    }
    await pausePoint('part: noted')
    if (parts.isGone) throw deletedMeanwhile()
  }

  /** Does `work` while the bytes are nobody else's; those of a whole file, unless it says which. */
  async #holding<T>(
    { file, first = 0, end = Number.MAX_SAFE_INTEGER }: Partial<LockedRange> & { file: string },
    work: () => Promise<T>,
  ): Promise<T> {
    const range = { file, first, end }
    if (!(await this.#locks.take(range))) {
      throw new CodedError('overloaded', 'another request is writing a part of this file')
    }
    try {
      return await work()
    } finally {
      await this.#locks.give(range)
    }
  }

  /** Gives a file all of which is there its name, when its bytes are those that were announced. */
  async #complete(place: Place, body: Body, part: KnownPart): Promise<Written | number> {
    const { total, expected = {}, replace } = part
    const { disk, fsync } = this.#writer
    const parts = await PartFile.open(this.#writer, place.file, total)
    // Another has just done it.
    if (!parts) return (await this.#named(place.path, body, { ...part, length: 0 })) ?? 0
    try {
      parts.cut()
      if (fsync) await this.#writer.flush(parts.fd)
      await pausePoint('part: flushed')
    } catch (err) {
      await disk.unlink(place.file).catch(ignoreAbsent)
      throw err
    } finally {
      parts.close()
    }
    const digests = await this.#writer.digest(place.file, part)
    const written = { size: total, digests }
    try {
      if (!agree(digests, expected)) {
        throw new CodedError('checksum_mismatch', 'the bytes are not those that were announced')
      }
      const named = await this.#writer.publish(place.file, place.path, { replace, written })
      if (!named) await disk.unlink(place.file).catch(ignoreAbsent)
    } catch (err) {
      // Nothing that could yet come would make them right.
      const wrong = isCoded(err, 'checksum_mismatch') || isCoded(err, 'fid_exists')
      if (wrong) await disk.unlink(place.file).catch(ignoreAbsent)
      throw err
    }
    return written
  }

  /**
   * The file that has the name, for a client that has lost the answer that said so and asks, or sends
   * a part again. Undefined when parts are to be begun. Throws fid_exists.
   */
  async #named(path: string, body: Body, part: KnownPart): Promise<Written | undefined> {
    const { first, length, total, expected = {}, replace } = part
    const found = await this.#writer.checkPlace(path)
    // Where bytes may be replaced, only of a last part it is clear that it does not begin new ones.
    const isAgain = !replace || length === 0 || (first > 0 && first + length === total)
    // What was named before the device failed may not outlive the next power cut.
    const compares = found?.size === total && isAgain && !this.#writer.hasFailed
    if (compares && (length === 0 || (await this.#holds(path, body, part)))) {
      const digests = await this.#writer.digest(this.#writer.placeOf(path), part)
      if (agree(digests, expected)) {
        // Who named it may have died before the name was flushed.
        await this.#writer.tree.flush(dirname(path))
        return { size: total, digests }
      }
    }
    if (found && !replace) throw fidExists()
    // It has been read to be compared.
    if (compares && length > 0) {
      throw new CodedError('range_not_satisfiable', 'no part of this file is there')
    }
    return undefined
  }

  /** True when the bytes of `body` stand in the file at `first`. */
  async #holds(path: string, body: Body, { first, length }: KnownPart): Promise<boolean> {
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
      return position === first + length
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
  #extend({ path, file }: Place, body: Body, options: PartOptions): Promise<number> {
    return this.#holding({ file }, () => this.#writeInto(path, body, options))
  }

  async #writeInto(path: string, body: Body, options: PartOptions): Promise<number> {
    const { disk, fsync } = this.#writer
    const { first, length } = options
    const have = (await this.#writer.checkPlace(path))?.size
    if (first > (have ?? 0)) {
      throw new CodedError('range_not_satisfiable', `only ${have ?? 0} bytes are there`)
    }
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
