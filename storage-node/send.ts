/**
 * From an open file to a socket. Pieces of 256 KiB from buffers that are used again: reading 1 MiB
 * that way takes 0.5 ms of processor time, through `createReadStream` 1.3 ms.
 */
import type { FileHandle } from 'node:fs/promises'
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'

const largeBytes = 256 * 1024
const smallBytes = 32 * 1024
/** More readers than this at once get small pieces, so that slow ones cannot fill the memory. */
const maxLarge = 128
const maxIdle = 16

/** The buffers of one server. */
export class Buffers {
  readonly #idle: Buffer[] = []
  #large = 0

  /** A buffer for reading `wanted` bytes in one or more pieces. */
  take(wanted: number): Buffer {
    if (wanted <= smallBytes) return Buffer.allocUnsafe(wanted)
    const idle = this.#idle.pop()
    if (idle) return idle
    if (this.#large >= maxLarge) return Buffer.allocUnsafeSlow(smallBytes)
    this.#large++
    return Buffer.allocUnsafeSlow(largeBytes)
  }

  /** Gives back what `take` gave; `reusable` only when nobody reads it any more. */
  give(buffer: Buffer, reusable: boolean): void {
    if (buffer.length !== largeBytes) return
    if (reusable && this.#idle.length < maxIdle) this.#idle.push(buffer)
    else this.#large--
  }
}

export interface Piece {
  readonly handle: FileHandle
  readonly start: number
  readonly length: number
}

/**
 * Answers with `length` bytes of a file from `start` on. Until the first of them are read a failure
 * is thrown and can be answered; afterwards, like a file that has become shorter, it breaks the
 * connection, so that the client never takes a part for the whole. Resolves when the last byte is
 * handed to the system or the client has gone.
 */
export async function sendPiece(
  reply: FastifyReply,
  buffers: Buffers,
  { status, headers }: { status: number; headers: OutgoingHttpHeaders },
  { handle, start, length }: Piece,
): Promise<void> {
  const res = reply.raw
  const buffer = buffers.take(length)
  let position = start
  let left = length
  const read = async (): Promise<number> => {
    const size = Math.min(left, buffer.length)
    const { bytesRead } = await handle.read(buffer, 0, size, position)
    if (bytesRead === 0) throw new Error('the file has become shorter while it was read')
    position += bytesRead
    left -= bytesRead
    return bytesRead
  }
  let sent = false
  try {
    let filled = await read()
    reply.hijack()
    res.writeHead(status, headers)
    while (await send(res, buffer.subarray(0, filled), left === 0)) {
      if (left === 0) {
        sent = true
        return
      }
      filled = await read()
    }
  } catch (err) {
    if (!res.headersSent) throw err
    reply.log.error({ err }, 'read failed in mid-body')
    res.destroy()
  } finally {
    // What was not sent may still be queued somewhere below.
    buffers.give(buffer, sent)
  }
}

/** Resolves true when `chunk` is handed to the system, false when the client has gone. */
function send(res: ServerResponse, chunk: Buffer, last: boolean): Promise<boolean> {
  return new Promise(resolve => {
    if (res.destroyed) {
      resolve(false)
      return
    }
    const end = (sent: boolean): void => {
      res.off('close', gone)
      resolve(sent)
    }
    const gone = (): void => end(false)
    res.on('close', gone)
    if (last) res.end(chunk, () => end(true))
    else res.write(chunk, err => end(!err))
  })
}
