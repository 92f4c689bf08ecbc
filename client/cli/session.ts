/** A session: what a command works with while it talks to trackers, closed at its end. */
import { setMaxListeners } from 'node:events'
import { CodedError } from '../../common/errors.ts'
import type { Client } from '../index.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { findConnection, type ConnectionOptions } from './connection.ts'
import { endSignals, Interrupted } from './failure.ts'
import type { Output } from './output.ts'

export type { ConnectionOptions } from './connection.ts'

/** The parts of `process` that commands use; tests pass their own. */
export type Host = Pick<NodeJS.Process, 'env' | 'stdin' | 'stdout' | 'stderr'>

export interface Session {
  /** Throws unauthorized when there is no token, so commands check their arguments before they use it. */
  readonly api: TrackerApi
  /** The client of a domain. Throws unauthorized, like `api`. */
  readonly client: (domain: string) => Client
  /** Aborted when a signal tells the program to end. */
  readonly signal: AbortSignal
  readonly trackers: readonly string[]
  /** Runs `work` with the API of one tracker only, with the token of the session or another one. */
  readonly askOne: <T>(
    tracker: string,
    work: (api: TrackerApi) => Promise<T>,
    token?: string,
  ) => Promise<T>
  readonly out: Output
  /** `--json` was given: results are written as JSON. */
  readonly json: boolean
  readonly host: Host
}

/** Milliseconds for a request with all its tries: less than the SDK allows, since a person is waiting. */
const budgetMs = 3_000

/**
 * Runs `work` with a session. The first SIGINT, SIGTERM or SIGHUP aborts the signal of the session, and
 * this throws Interrupted; a second one ends the process at once. Otherwise throws what `findConnection`
 * and `work` throw.
 */
export async function withSession(
  { host, out, options }: { host: Host; out: Output; options: ConnectionOptions },
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const { trackers, token } = await findConnection(options, host.env)
  const { signal, stopListening } = listenToSignals()
  const needToken = (): string => {
    if (token === undefined) throw new CodedError('unauthorized', 'there is no token')
    return token
  }
  // Not loaded earlier: help and errors of the command line should come at once.
  const { createClient, createTrackerApi } = await import('../index.ts')
  let root: Client | undefined
  const connect = (): Client =>
    (root ??= createClient({ trackers, token: needToken(), domain: '', budgetMs }))
  try {
    await work({
      get api() {
        return connect().api
      },
      client: domain => connect().domain(domain),
      signal,
      trackers,
      async askOne(tracker, ask, other = needToken()) {
        const api = createTrackerApi({ trackers: [tracker], token: other, budgetMs })
        try {
          return await ask(api)
        } finally {
          await api.close()
        }
      },
      out,
      json: options.json ?? false,
      host,
    })
  } catch (err) {
    signal.throwIfAborted()
    throw err
  } finally {
    stopListening()
    await root?.close()
  }
}

/** A signal that is aborted with Interrupted when the process is told to end. */
function listenToSignals(): { readonly signal: AbortSignal; readonly stopListening: () => void } {
  const abort = new AbortController()
  setMaxListeners(0, abort.signal) // every transfer under way, and each of its requests, listens to it
  const handlers = endSignals.map(name => [name, () => interrupt(new Interrupted(name))] as const)
  const stopListening = (): void => {
    for (const [name, handler] of handlers) process.off(name, handler)
  }
  function interrupt(reason: Interrupted): void {
    stopListening() // so that a second signal ends the process at once
    abort.abort(reason)
  }
  for (const [name, handler] of handlers) process.on(name, handler)
  return { signal: abort.signal, stopListening }
}
