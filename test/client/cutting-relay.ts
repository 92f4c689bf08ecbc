/** A TCP relay before a server, which can cut its connections. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface CuttingRelay {
  readonly origin: string
  /** Bytes that have come from clients. */
  received(): number
  /** Connections of clients that are open. */
  connections(): number
  /** Breaks the connections of now once so many bytes more have come. */
  cutAfter(bytes: number): void
  /** Breaks the connections of now. */
  cut(): void
  /** Whether new connections are taken; they are at first. */
  setOpen(open: boolean): void
  /** Hands nothing on any more once so many bytes more have come. */
  stallAfter(bytes: number): void
}

/** Starts a relay to `origin`; it ends with the test. */
export async function startCuttingRelay(t: Test, origin: string): Promise<CuttingRelay> {
  const { hostname, port } = new URL(origin)
  const sockets = new Set<Socket>()
  let received = 0
  let cutAt = Infinity
  let isOpen = true
  let stallAt = Infinity
  const cut = (): void => {
    for (const one of sockets) one.resetAndDestroy()
  }
  const server = createServer(socket => {
    if (!isOpen) {
      socket.resetAndDestroy()
      return
    }
    const upstream = connect(Number(port), hostname)
    for (const one of [socket, upstream]) {
      sockets.add(one)
      one.on('error', () => {})
      one.once('close', () => {
        sockets.delete(one)
        socket.destroy()
        upstream.destroy()
      })
    }
    upstream.pipe(socket)
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (received > stallAt) socket.pause()
      else if (!upstream.write(chunk)) {
        socket.pause()
        upstream.once('drain', () => socket.resume())
      }
      if (received < cutAt) return
      cutAt = Infinity
      cut()
    })
    socket.once('end', () => upstream.end())
  })
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    for (const one of sockets) one.destroy()
    return new Promise(resolve => server.close(resolve))
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: () => received,
    connections: () => sockets.size / 2,
    cutAfter(bytes) {
      cutAt = received + bytes
    },
    cut,
    setOpen(open) {
      isOpen = open
    },
    stallAfter(bytes) {
      stallAt = received + bytes
    },
  }
}
