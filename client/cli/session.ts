/** The connection of a command to the trackers, and its end. */
import { setMaxListeners } from 'node:events'
import { CodedError } from '../../common/errors.ts'
import type { Client } from '../index.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { findConnection, type ConnectionOptions } from './connection.ts'
import { endSignals, Interrupted } from './failure.ts'
import type { Output } from './output.ts'

export type { ConnectionOptions } from './connection.ts'

/** The streams and the environment of this process. */
export type Host = Pick<NodeJS.Process, 'env' | 'stdin' | 'stdout' | 'stderr'>

/** Arguments are looked at before trackers are asked, which throws unauthorized without a token. */
export interface Session {
  readonly api: TrackerApi
  /** The files of a domain. */
  readonly client: (domain: string) => Client
  /** Aborted when the program is told to end. */
  readonly signal: AbortSignal
  readonly trackers: readonly string[]
  readonly token: string | undefined
  /** Asks one tracker by itself, with the session's token or another. Rejects with what `work` does. */
  readonly askOne: <T>(
    tracker: string,
    work: (api: TrackerApi) => Promise<T>,
    token?: string,
  ) => Promise<T>
  readonly out: Output
  /** Results are to be written as JSON. */
  readonly json: boolean
  readonly host: Host
}

/** Milliseconds to keep asking trackers that do not answer: a person waits for the word. */
const budgetMs = 3_000

/**
 * Runs `work` with a session. SIGINT, SIGTERM and SIGHUP abort its signal, a second one ends the
 * process as it would without us. Throws UsageError for the options, or what `work` throws; once the
 * signal was aborted Interrupted.
 */
export async function withSession(
  { host, out, options }: { host: Host; out: Output; options: ConnectionOptions },
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const { trackers, token } = await findConnection(options, host.env)
  const abort = new AbortController()
  setMaxListeners(0, abort.signal) // each file under way listens to it, and its requests do
  const handlers = endSignals.map(
    signal => [signal, () => interrupt(new Interrupted(signal))] as const,
  )
  const stopListening = (): void => {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
  function interrupt(reason: Interrupted): void {
    stopListening()
    abort.abort(reason)
  }
  for (const [signal, handler] of handlers) process.on(signal, handler)

  const needToken = (): string => {
    if (token === undefined) throw new CodedError('unauthorized', 'there is no token')
    return token
  }
  // Loaded now, so that help and complaints about the command line come at once.
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
      signal: abort.signal,
      trackers,
      token,
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
    abort.signal.throwIfAborted()
    throw err
  } finally {
    stopListening()
    await root?.close()
  }
}
