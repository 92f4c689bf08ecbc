/**
 * HEAD, which every close of an upload asks for: over connections of its own, so that those which
 * arrive together share writes and reads. That takes a quarter of the processor time of a whole
 * HTTP client.
 */
import { Deadlines, type Waited } from '../common/deadlines.ts'
import { HeadConnection, type HeadAnswer, type Question } from './head-connection.ts'
import { unreachable, type Target } from './storage-http.ts'

export interface HeadClientOptions {
  /** Milliseconds until a connection stands. */
  readonly connectMs: number
  /** Milliseconds until an answer begins. */
  readonly answerMs: number
  /** Connections to one device at most. */
  readonly connections: number
}

export interface HeadOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds until it is given up; a tenth of what an `AbortSignal.timeout` costs. */
  readonly withinMs?: number | undefined
}

export interface HeadClient {
  /** Throws storage_unreachable, or the signal's reason. */
  ask(target: Target, options?: HeadOptions): Promise<HeadAnswer>
  /** Ends all connections; what is under way fails. */
  close(): void
}

/** Milliseconds by which a question may be given up too late. */
const tickMs = 100

interface Device {
  readonly connections: Set<HeadConnection>
  readonly waiting: Question[]
}

/** Creates a client; it opens no connection until the first request. */
export function createHeadClient(options: HeadClientOptions): HeadClient {
  // A device each: one that hangs holds up nobody else.
  const devices = new Map<string, Device>()
  const deadlines = new Deadlines(tickMs)
  let closed = false

  function deviceOf({ origin, path }: Target): Device {
    const end = path.indexOf('/', 1)
    const name = end < 0 ? origin : origin + path.slice(0, end)
    let device = devices.get(name)
    if (!device) devices.set(name, (device = { connections: new Set(), waiting: [] }))
    return device
  }

  function askAll(device: Device, target: Target): void {
    const { waiting, connections } = device
    if (closed) for (const question of waiting.splice(0)) question.fail(new Error('closed'))
    while (waiting.length > 0) {
      let free: HeadConnection | undefined
      for (const connection of connections) if (connection.hasRoom) free = connection
      if (!free) {
        if (connections.size >= options.connections) return
        free = open(device, target)
      }
      free.ask(waiting.shift() as Question)
    }
  }

  function open(device: Device, target: Target): HeadConnection {
    const { connections, waiting } = device
    const connection = new HeadConnection({
      ...options,
      target,
      onRoom: () => askAll(device, target),
      onEnd(unanswered) {
        connections.delete(connection)
        waiting.unshift(...unanswered)
        askAll(device, target)
      },
    })
    connections.add(connection)
    return connection
  }

  return {
    ask(target, { signal, withinMs = Infinity } = {}) {
      signal?.throwIfAborted()
      return new Promise((resolve, reject) => {
        const onAbort = (): void => {
          done()
          reject(signal?.reason as Error)
        }
        const done = (): void => {
          signal?.removeEventListener('abort', onAbort)
          deadlines.lift(question)
        }
        const question: Question & Waited = {
          path: target.path,
          retried: false,
          dueAt: performance.now() + withinMs,
          late: () => question.fail(new Error('no answer in time')),
          answer(answer) {
            done()
            resolve(answer)
          },
          fail(err) {
            done()
            reject(unreachable(target, err))
          },
        }
        signal?.addEventListener('abort', onAbort, { once: true })
        if (withinMs < Infinity) deadlines.set(question)
        const device = deviceOf(target)
        device.waiting.push(question)
        askAll(device, target)
      })
    },

    close() {
      closed = true
      for (const { connections } of devices.values())
        for (const connection of connections) connection.close()
    },
  }
}
