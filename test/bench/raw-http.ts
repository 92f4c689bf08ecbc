/** A client that does nothing but count bytes, so that what is measured is the server. */
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'

export interface RawHttp {
  /** Sends a request and resolves with the bytes of its body. Rejects unless it is answered 2xx. */
  ask(request: Buffer): Promise<number>
  close(): void
}

const maxHead = 4096

/** Opens one connection, for one request at a time. */
export async function connectRaw(port: number): Promise<RawHttp> {
  let resolve: (bytes: number) => void = () => {}
  let reject: (err: Error) => void = () => {}
  let head = ''
  let total = 0
  let left = -1

  const onChunk = (size: number, buffer: Uint8Array): boolean => {
    let body = size
    if (left < 0) {
      head += Buffer.from(buffer.buffer, buffer.byteOffset, Math.min(size, maxHead)).toString(
        'latin1',
      )
      const end = head.indexOf('\r\n\r\n') + 4
      if (end < 4) return true
      if (!/^HTTP\/1\.\d 2/.test(head)) reject(new Error(head.slice(0, 200)))
      total = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      left = total
      // What came before this chunk was head as well.
      body = size - (end - (head.length - Math.min(size, maxHead)))
      head = ''
    }
    left -= body
    if (left === 0) {
      left = -1
      resolve(total)
    }
    return true
  }
  const socket: Socket = connect({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: { buffer: Buffer.allocUnsafeSlow(256 * 1024), callback: onChunk },
  })
  await once(socket, 'connect')
  socket.on('error', err => reject(err))
  return {
    ask(request) {
      return new Promise((done, failed) => {
        resolve = done
        reject = failed
        socket.write(request)
      })
    },
    close: () => socket.destroy(),
  }
}

/** `count` connections to `port` that are handed out in turn. */
export async function connectMany(
  port: number,
  count: number,
): Promise<{ ask(request: Buffer): Promise<number>; close(): void }> {
  const all = await Promise.all(Array.from({ length: count }, () => connectRaw(port)))
  const free = [...all]
  return {
    async ask(request) {
      const one = free.pop()
      if (!one) throw new Error('more at once than connections')
      const bytes = await one.ask(request)
      free.push(one)
      return bytes
    },
    close: () => all.forEach(one => one.close()),
  }
}
