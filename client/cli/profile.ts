/** Profiles: sets of trackers with their token, which `omg login` saves for this user. */
import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CommandFailure } from './failure.ts'
import { parseJson } from './parse-json.ts'

export interface Profile {
  readonly trackers: readonly string[]
  readonly token: string
}

export interface Profiles {
  /** Name of the profile that is used when none is given. */
  readonly current?: string
  readonly profiles: Readonly<Record<string, Profile>>
}

/** True for a name that a profile may have. */
export const isProfileName = (name: string): boolean => /^[A-Za-z0-9][\w.-]{0,63}$/.test(name)

/**
 * The file of profiles: `OMG_CONFIG`, else `omgfiles/config.json` in the configuration folder of the XDG
 * Base Directory specification. Undefined when the environment names neither that nor a home.
 */
function profilePath(env: NodeJS.ProcessEnv): string | undefined {
  if (env['OMG_CONFIG']) return env['OMG_CONFIG']
  const base = env['XDG_CONFIG_HOME'] || (env['HOME'] && join(env['HOME'], '.config'))
  return base ? join(base, 'omgfiles', 'config.json') : undefined
}

/**
 * Reads the profiles; there are none when there is no file. Throws CommandFailure for a file that others
 * may read, or that `omg login` has not written.
 */
export async function readProfiles(env: NodeJS.ProcessEnv): Promise<Profiles> {
  const path = profilePath(env)
  const text = path === undefined ? undefined : await readIfThere(path)
  if (path === undefined || text === undefined) return { profiles: {} }
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
    throw new CommandFailure(`${path} holds tokens, but others may read it: run chmod 600 on it`)
  }
  const value = parseJson(text)
  if (!isProfiles(value))
    throw new CommandFailure(`${path} is not what omg login writes: remove it and log in again`)
  return value
}

/** The profile called `name`. Throws CommandFailure when there is none. */
export function getProfile({ profiles }: Profiles, name: string): Profile {
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined
  if (profile) return profile
  throw new CommandFailure(`no profile ${JSON.stringify(name)} (omg profile list shows them)`)
}

/**
 * Writes the profiles, whole or not at all, to a file that only this user may read; returns its path.
 * Throws CommandFailure when there is no home.
 */
export async function writeProfiles(env: NodeJS.ProcessEnv, profiles: Profiles): Promise<string> {
  const path = profilePath(env)
  if (path === undefined)
    throw new CommandFailure('HOME is not set: name the file to save in with OMG_CONFIG')
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temp = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(temp, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(profiles, undefined, 2)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temp, path)
  } catch (err) {
    await rm(temp, { force: true })
    throw err
  }
  return path
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw err
  }
}

function isProfiles(value: unknown): value is Profiles {
  if (!isRecord(value) || !isRecord(value['profiles'])) return false
  const { current, profiles } = value
  return (
    (current === undefined || typeof current === 'string') &&
    Object.values(profiles).every(isProfile)
  )
}

const isProfile = (value: unknown): value is Profile =>
  isRecord(value) &&
  typeof value['token'] === 'string' &&
  Array.isArray(value['trackers']) &&
  value['trackers'].every(url => typeof url === 'string')

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
