/** Two connections made one, after an upgrade: bytes flow both ways until either side closes. */
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'

/** Milliseconds the other direction may take to finish once one has. */
const lingerMs = 2_000

export interface TunnelEnd {
  readonly socket: Socket
  /** What this side sent before the tunnel stood. */
  readonly early: Buffer
}

/** Runs until both directions are over. Never rejects; both sockets are closed afterwards. */
export async function tunnel(a: TunnelEnd, b: TunnelEnd): Promise<void> {
  if (a.early.length > 0) b.socket.write(a.early)
  if (b.early.length > 0) a.socket.write(b.early)
  const closeAll = (): void => {
    a.socket.destroy()
    b.socket.destroy()
  }
  for (const { socket } of [a, b]) {
    // Two pipelines add more to what a TLS connection has than node takes for no leak.
    socket.setMaxListeners(0).on('error', closeAll)
  }
  let timer: NodeJS.Timeout | undefined
  const over = (): void => {
    timer ??= setTimeout(closeAll, lingerMs)
  }
  // Passing an error on would help nobody: both sides see the connection close.
  await Promise.all([
    pipeline(a.socket, b.socket).then(over, closeAll),
    pipeline(b.socket, a.socket).then(over, closeAll),
  ])
  clearTimeout(timer)
  closeAll()
}
