/**
 * Several reproxies side by side, one process each, sharing their listeners. The supervisor reads the
 * settings, starts again what dies, and answers operators for all of them.
 */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { AggregatorRegistry } from 'prom-client'
import { ConfigError, formatAddress, parseAddress } from '../../common/config.ts'
import type { Daemon, Listening } from '../../common/daemon.ts'
import type { Logger } from '../../common/log.ts'
import type { ReproxyConfig } from '../config/schema.ts'
import { createAdmin, type StatusTable } from './admin.ts'
import type { WorkerReply, WorkerRequest } from './worker-protocol.ts'

export interface Supervisor extends Daemon {
  /** Goes over to other settings in all workers. Throws ConfigError. */
  configure(config: ReproxyConfig): Promise<void>
}

type Ask = WorkerRequest extends infer R
  ? R extends { id: number }
    ? Omit<R, 'id'>
    : never
  : never

/** A process, and who waits for its answers. */
interface Member {
  readonly worker: Worker
  readonly waiting: Map<number, (reply: WorkerReply) => void>
  serving: boolean
}

/** Milliseconds until a worker that died is replaced. */
const restartMs = 500
const reportMs = 2_000
/** Id of the message by which a worker says that it listens. */
const helloId = 0
const workerFile = fileURLToPath(new URL('./worker.js', import.meta.url))

/** Creates it; it serves when started. Throws ConfigError. */
export function createSupervisor(initial: ReproxyConfig, log: Logger): Supervisor {
  let config = initial
  const members = new Set<Member>()
  let closing = false
  let serial = 0
  let listening: Listening = {}
  const admin =
    initial.adminListen === undefined
      ? undefined
      : createAdmin(parseAddress('--admin-listen', initial.adminListen), {
          ready: () => !closing && [...members].some(({ serving }) => serving),
          metrics: async () => {
            const replies = await reports()
            const figures = replies.flatMap(({ metrics }) => (metrics ? [metrics] : []))
            return AggregatorRegistry.aggregate(figures as object[][]).metrics()
          },
          status: async () =>
            (await reports()).flatMap(({ status = [] }) => status as StatusTable[]),
        })

  /** What the workers are told: the operators' listener is the supervisor's. */
  const forWorkers = (all: ReproxyConfig): ReproxyConfig => {
    const { adminListen: _, ...rest } = all
    return rest
  }

  async function ask({ worker, waiting }: Member, request: Ask): Promise<WorkerReply> {
    const id = ++serial
    const gone = new AbortController()
    try {
      return await new Promise<WorkerReply>((resolve, reject) => {
        waiting.set(id, resolve)
        once(worker, 'exit', { signal: gone.signal }).then(
          () => reject(new Error('a worker has ended')),
          () => {},
        )
        worker.send({ ...request, id }, err => err && reject(err))
      })
    } finally {
      waiting.delete(id)
      gone.abort()
    }
  }

  async function reports(): Promise<WorkerReply[]> {
    const late = sleep(reportMs, undefined, { ref: false })
    const replies = await Promise.all(
      [...members].map(member => {
        const reply = ask(member, { kind: 'report' }).catch(() => undefined)
        return Promise.race([reply, late])
      }),
    )
    return replies.filter(reply => reply !== undefined)
  }

  async function spawn(): Promise<void> {
    const member: Member = { worker: cluster.fork(), waiting: new Map(), serving: false }
    members.add(member)
    const { worker, waiting } = member
    worker.on('message', (reply: WorkerReply) => waiting.get(reply.id)?.(reply))
    worker.on('error', (err: Error) => log.warn({ err }, 'worker'))
    worker.once('exit', (code: number | null, signal: string | null) => {
      members.delete(member)
      if (closing) return
      log.error({ code, signal }, 'a worker has ended')
      setTimeout(() => {
        if (!closing) spawn().catch((err: unknown) => log.error({ err }, 'no new worker'))
      }, restartMs)
    })
    await new Promise<void>((resolve, reject) => {
      waiting.set(helloId, () => resolve())
      worker.once('exit', () => reject(new Error('a worker has ended')))
    })
    waiting.delete(helloId)
    const reply = await ask(member, { kind: 'configure', config: forWorkers(config) })
    if (reply.error !== undefined) {
      closing = true
      throw new ConfigError(reply.error)
    }
    member.serving = true
    listening = reply.listening ?? {}
  }

  return {
    async start() {
      cluster.setupPrimary({ exec: workerFile, args: [], silent: false })
      await Promise.all(Array.from({ length: config.workers }, spawn))
      await admin?.start()
    },
    async close() {
      closing = true
      const replies = await Promise.all(
        [...members].map(async member => {
          const reply = await ask(member, { kind: 'close' }).catch(() => undefined)
          const gone = once(member.worker, 'exit')
          if (member.worker.isConnected()) {
            member.worker.process.disconnect()
            await gone
          }
          return reply
        }),
      )
      await admin?.close()
      const failed = replies.find(reply => reply?.error !== undefined)
      if (failed) throw new Error(failed.error)
    },
    async configure(next) {
      const replies = await Promise.all(
        [...members].map(member => ask(member, { kind: 'configure', config: forWorkers(next) })),
      )
      const failed = replies.find(({ error }) => error !== undefined)
      if (failed) throw new ConfigError(failed.error ?? '')
      config = { ...next, workers: config.workers }
    },
    listening: () => ({
      ...listening,
      ...(admin ? { admin: formatAddress(admin.address) } : {}),
    }),
  }
}
