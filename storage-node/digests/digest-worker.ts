/**
 * The thread that reads stored files for their digests: out of the way of the event loop and of the
 * pool of file threads, at a bounded rate. One job at a time, one thread per device.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { Algorithm } from './digests.ts'
import { errnoOf } from '../disk/errno.ts'

/** What the thread is asked. */
export interface DigestJob {
  readonly id: number
  /** Absolute. */
  readonly path: string
  readonly algorithms: readonly Algorithm[]
  readonly bytesPerSecond: number
}

/** What it answers: digests, a failure before the first byte, or the offset where reading failed. */
export type DigestResult =
  | { readonly id: number; readonly digests: Record<string, Uint8Array>; readonly size: number }
  | { readonly id: number; readonly code: string; readonly offset: number | undefined }

const pieceBytes = 512 * 1024
const buffer = Buffer.allocUnsafeSlow(pieceBytes)
const clock = new Int32Array(new SharedArrayBuffer(4))
/** Counts reads, for who looks whether the disk answers. */
const reads = workerData as Int32Array

parentPort?.on('message', (job: DigestJob) => parentPort?.postMessage(run(job)))

function run({ id, path, algorithms, bytesPerSecond }: DigestJob): DigestResult {
  let fd: number | undefined
  let offset: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if (!fstatSync(fd).isFile()) return { id, code: 'ELOOP', offset }
    const hashes = algorithms.map(algorithm => ({ algorithm, hash: createHash(algorithm) }))
    offset = 0
    const startedAt = performance.now()
    for (;;) {
      const read = readSync(fd, buffer, 0, pieceBytes, offset)
      Atomics.add(reads, 0, 1)
      if (read === 0) break
      const bytes = buffer.subarray(0, read)
      for (const { hash } of hashes) hash.update(bytes)
      offset += read
      const ahead = (offset / bytesPerSecond) * 1000 - (performance.now() - startedAt)
      if (ahead > 1) Atomics.wait(clock, 0, 0, ahead)
    }
    const digests = Object.fromEntries(
      hashes.map(({ algorithm, hash }) => [algorithm, hash.digest()]),
    )
    return { id, digests, size: offset }
  } catch (err) {
    return { id, code: errnoOf(err) || 'EIO', offset }
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
