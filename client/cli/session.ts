/** The connection of a command to the trackers, and its end. */
import { setMaxListeners } from 'node:events'
import { readFile } from 'node:fs/promises'
import { CodedError } from '../../common/errors.ts'
import type { Client } from '../index.ts'
import type { TrackerApi } from '../tracker.ts'
import { endSignals, Interrupted, UsageError } from './failure.ts'
import type { Output } from './output.ts'

/** The streams and the environment of this process. */
export type Host = Pick<NodeJS.Process, 'env' | 'stdin' | 'stdout' | 'stderr'>

/** Options of every command that talks to trackers. */
export interface ConnectionOptions {
  readonly trackers?: string
  readonly tokenFile?: string
  readonly json?: boolean
}

/** Arguments are looked at before `api` and `client` are: those throw unauthorized without a token. */
export interface Session {
  readonly api: TrackerApi
  /** The files of a domain. */
  readonly client: (domain: string) => Client
  /** Aborted when the program is told to end. */
  readonly signal: AbortSignal
  readonly trackers: readonly string[]
  /** One tracker by itself; to be closed by the caller. */
  readonly createApi: (tracker: string) => TrackerApi
  readonly out: Output
  /** Results are to be written as JSON. */
  readonly json: boolean
  readonly host: Host
}

/** Milliseconds to keep asking trackers that do not answer: a person waits for the word. */
const budgetMs = 3_000

const defaultTracker = 'http://127.0.0.1:7002'

/** Where `omg up` leaves the token, seen from the folder in which it runs. */
const upToken = 'data/admin-token'

/**
 * Runs `work` with a session. SIGINT, SIGTERM and SIGHUP abort its signal, a second one ends the
 * process as it would without us. Throws UsageError for the options, or what `work` throws; once the
 * signal was aborted Interrupted.
 */
export async function withSession(
  { host, out, options }: { host: Host; out: Output; options: ConnectionOptions },
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const trackers = trackersOf(options, host.env)
  const token = await findToken(options, host.env, trackers)
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
      createApi: tracker => createTrackerApi({ trackers: [tracker], token: needToken() }),
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

function trackersOf({ trackers }: ConnectionOptions, env: Host['env']): string[] {
  const text = trackers ?? (env['OMG_TRACKERS'] || defaultTracker)
  const urls = text.split(',').map(url => url.trim())
  for (const url of urls) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
      const setting = trackers === undefined ? 'OMG_TRACKERS' : '--trackers'
      throw new UsageError(`${setting}: ${JSON.stringify(url)} is not the http URL of a tracker`)
    }
  }
  return urls
}

async function findToken(
  { tokenFile }: ConnectionOptions,
  env: Host['env'],
  trackers: readonly string[],
): Promise<string | undefined> {
  const fromFile = (path: string): Promise<string> => readFile(path, 'utf8')
  let text: string | undefined
  if (tokenFile !== undefined) text = await fromFile(tokenFile)
  else if (env['OMG_TOKEN']) text = env['OMG_TOKEN']
  else if (trackers.every(url => new URL(url).origin === defaultTracker)) {
    text = await fromFile(upToken).catch(() => undefined)
  }
  if (text === undefined) return undefined
  const token = text.trim()
  if (!/^[\w~+/.-]{1,512}=*$/.test(token)) {
    throw new CodedError('unauthorized', `${tokenFile ?? 'OMG_TOKEN'} holds no token`)
  }
  return token
}
