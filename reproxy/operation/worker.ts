/** One of several reproxies that share their listeners, in a process of its own: it does what its supervisor says. */
import { createLogger, type Logger } from '../../common/log.ts'
import { createReproxy, type Reproxy } from '../index.ts'
import type { WorkerReply, WorkerRequest } from './worker-protocol.ts'

let reproxy: Reproxy | undefined
let log: Logger | undefined

async function answer(request: WorkerRequest): Promise<Omit<WorkerReply, 'id'>> {
  switch (request.kind) {
    case 'configure': {
      const { config } = request
      log ??= createLogger('reproxy')
      if (reproxy) await reproxy.configure(config)
      log.level = config.logLevel
      if (!reproxy) {
        reproxy = createReproxy(config, log)
        await reproxy.start()
      }
      return { listening: reproxy.listening() }
    }
    case 'report': {
      if (!reproxy) return {}
      return {
        metrics: await reproxy.metrics.registry.getMetricsAsJSON(),
        status: reproxy.status(),
      }
    }
    case 'close':
      await reproxy?.close()
      return {}
  }
}

process.on('message', (request: WorkerRequest) => {
  const { id } = request
  answer(request)
    .catch((err: unknown) => ({ error: (err as Error).message }))
    .then(reply => process.send?.({ id, ...reply } satisfies WorkerReply))
    .catch(() => process.exit(1))
})
// Signals go to the whole group of a terminal; when to end is for the supervisor to say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))
// What comes before somebody listens for it is lost, so nothing is sent before this.
process.send?.({ id: 0 } satisfies WorkerReply)
