/** Opening a listener, by address or by a socket that the service manager holds. */
import type { ListenOptions, Server } from 'node:net'
import type { Address } from '../../common/config.ts'

/** Where to listen: an address, or a socket that was inherited and stays open across restarts. */
export type Listen = Address | { readonly fd: number }

/** Resolves once `server` listens. */
export async function listenOn(server: Server, listen: Listen): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...listen } satisfies ListenOptions & { fd?: number }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Where `server` listens. Throws when it does not. */
export function boundAddress(server: Server): Address {
  const bound = server.address()
  if (!bound || typeof bound === 'string') throw new Error('not listening')
  return { host: bound.address, port: bound.port }
}
