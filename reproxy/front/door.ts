/** How many connections one address may have, so that one client cannot take the place of all others. */
import type { Socket } from 'node:net'

export interface DoorOptions {
  /** True for addresses from which any number of connections may come. */
  readonly isUnlimited: (address: string) => boolean
  readonly maxPerAddress: () => number
}

/** Creates what counts connections; one too many of its address is closed. */
export function createDoor({ isUnlimited, maxPerAddress }: DoorOptions): (socket: Socket) => void {
  const counts = new Map<string, number>()
  return socket => {
    const address = socket.remoteAddress ?? ''
    if (isUnlimited(address)) return
    const count = (counts.get(address) ?? 0) + 1
    counts.set(address, count)
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1
      if (left > 0) counts.set(address, left)
      else counts.delete(address)
    })
    if (count > maxPerAddress()) socket.destroy()
  }
}
