import type { Context } from '../cluster/context.ts'
import type { Worker } from './loop.ts'

/** Reads the configuration anew, so that what another tracker changed is seen here. */
export function createRefreshWorker({ cluster }: Context): Worker {
  return {
    name: 'refresh',
    restMs: 4_000,
    async pass() {
      await cluster.refresh()
      return 0
    },
  }
}
