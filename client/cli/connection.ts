/** Which trackers a command asks, and with which token. */
import { readFile } from 'node:fs/promises'
import { CodedError } from '../../common/errors.ts'
import { UsageError } from './failure.ts'
import { getProfile, readProfiles, type Profile } from './profile.ts'

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

/** Where `omg up` leaves its token, relative to the folder in which it runs. */
const upToken = 'data/admin-token'

/**
 * Finds out which trackers to ask, and with which token. Each comes from the first of these that gives
 * it: its option; the profile that `--profile` names; the environment; the profile that `OMG_PROFILE`
 * names, or that of the last login; the system that `omg up` runs here. The token of a profile is only
 * used with the trackers of that profile, and the token of `omg up` only with its tracker. Throws
 * UsageError for a URL that cannot be used, CommandFailure for a profile that does not exist,
 * unauthorized for a text that cannot be a token.
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

/** Reads URLs separated by commas. Throws a UsageError that names `setting`. */
function parseTrackers(text: string, setting: string): string[] {
  const urls = text.split(',').map(url => url.trim())
  for (const url of urls) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined
    if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
      throw new UsageError(
        `${setting}: ${JSON.stringify(url)} is not the URL of a tracker, such as ${defaultTracker}`,
      )
    }
  }
  return urls
}

/** Reads the text of a token. Throws unauthorized, naming `where` it came from. */
export function parseToken(text: string, where: string): string {
  const token = text.trim()
  if (/^[\w~+/.-]{1,512}=*$/.test(token)) return token
  throw new CodedError('unauthorized', `${where} holds no token`)
}

/**
 * The profile to use; undefined when none is named and nobody has logged in. One that does not exist is
 * an error, unless `mustExist` is false and only `OMG_PROFILE` or the last login names it.
 */
async function findProfile(
  { profile: named }: ConnectionOptions,
  { env, mustExist }: { env: NodeJS.ProcessEnv; mustExist: boolean },
): Promise<Profile | undefined> {
  const saved = await readProfiles(env)
  const name = named ?? (env['OMG_PROFILE'] || saved.current)
  if (name === undefined) return undefined
  if (!mustExist && named === undefined && !Object.hasOwn(saved.profiles, name)) return undefined
  return getProfile(saved, name)
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

/** True when each of `trackers` is among those that are `known`, by its origin. */
function within(trackers: readonly string[], known: readonly string[]): boolean {
  const origins = new Set(known.map(url => new URL(url).origin))
  return trackers.every(url => origins.has(new URL(url).origin))
}
