/** Which trackers a command asks, and with which token. */
import { readFile } from 'node:fs/promises'
import { CodedError } from '../../common/errors.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { readProfiles, type Profile } from './profile.ts'

/** Options of every command that talks to trackers. */
export interface ConnectionOptions {
  readonly trackers?: string
  readonly tokenFile?: string
  readonly profile?: string
  readonly json?: boolean
}

export interface Connection {
  readonly trackers: readonly string[]
  readonly token: string | undefined
}

const defaultTracker = 'http://127.0.0.1:7002'

/** Where `omg up` leaves the token, seen from the folder in which it runs. */
const upToken = 'data/admin-token'

/**
 * Settles both, each from the first of: its option, the profile named by `--profile`, the
 * environment, the profile of `OMG_PROFILE` or the last login, the system that `omg up` runs here.
 * The token of a profile, and that of `omg up`, goes to no other tracker than its own. Throws
 * UsageError for a value that cannot be used, unauthorized for a token that is none.
 */
export async function findConnection(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
): Promise<Connection> {
  const given =
    options.trackers ?? (options.profile === undefined ? env['OMG_TRACKERS'] : undefined)
  const needsProfile = !given || (options.tokenFile === undefined && !env['OMG_TOKEN'])
  const profile =
    options.profile !== undefined || needsProfile
      ? await findProfile(options, { env, mustExist: !given })
      : undefined
  const trackers = given
    ? parseTrackers(given, options.trackers === undefined ? 'OMG_TRACKERS' : '--trackers')
    : (profile?.trackers ?? [defaultTracker])
  return { trackers, token: await findToken(options, { env, trackers, profile }) }
}

/** Reads URLs separated by commas. Throws UsageError that names `setting`. */
export function parseTrackers(text: string, setting: string): string[] {
  const urls = text.split(',').map(url => url.trim())
  for (const url of urls) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
      throw new UsageError(`${setting}: ${JSON.stringify(url)} is not the http URL of a tracker`)
    }
  }
  return urls
}

/** Reads the text of a token, which came from `where`. Throws unauthorized. */
export function parseToken(text: string, where: string): string {
  const token = text.trim()
  if (/^[\w~+/.-]{1,512}=*$/.test(token)) return token
  throw new CodedError('unauthorized', `${where} holds no token`)
}

async function findProfile(
  { profile: named }: ConnectionOptions,
  { env, mustExist }: { env: NodeJS.ProcessEnv; mustExist: boolean },
): Promise<Profile | undefined> {
  const { current, profiles } = await readProfiles(env)
  const name = named ?? (env['OMG_PROFILE'] || current)
  if (name === undefined) return undefined
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined
  if (!profile && (mustExist || named !== undefined)) {
    throw new CommandFailure(`no profile ${JSON.stringify(name)} (omg profile list shows them)`)
  }
  return profile
}

async function findToken(
  { tokenFile, profile: named }: ConnectionOptions,
  {
    env,
    trackers,
    profile,
  }: {
    env: NodeJS.ProcessEnv
    trackers: readonly string[]
    profile: Profile | undefined
  },
): Promise<string | undefined> {
  if (tokenFile !== undefined) return parseToken(await readFile(tokenFile, 'utf8'), tokenFile)
  const own = profile && within(trackers, profile.trackers) ? profile.token : undefined
  if (named !== undefined && own !== undefined) return own
  if (env['OMG_TOKEN']) return parseToken(env['OMG_TOKEN'], 'OMG_TOKEN')
  if (own !== undefined) return own
  if (!within(trackers, [defaultTracker])) return undefined
  const text = await readFile(upToken, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : parseToken(text, upToken)
}

function within(trackers: readonly string[], known: readonly string[]): boolean {
  const origins = new Set(known.map(url => new URL(url).origin))
  return trackers.every(url => origins.has(new URL(url).origin))
}
