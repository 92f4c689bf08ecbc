/** Profiles: trackers with their token, as `omg login` saves them for this user. */
import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CommandFailure } from './failure.ts'

export interface Profile {
  readonly trackers: readonly string[]
  readonly token: string
}

export interface Profiles {
  /** The one that is used when none is named. */
  readonly current?: string
  readonly profiles: Readonly<Record<string, Profile>>
}

/** What a profile may be called. */
export const isProfileName = (name: string): boolean => /^[A-Za-z0-9][\w.-]{0,63}$/.test(name)

/**
 * Where profiles are kept: `OMG_CONFIG`, else `omgfiles/config.json` in the folder of the XDG Base
 * Directory specification. Undefined where there is no home.
 */
export function profilePath(env: NodeJS.ProcessEnv): string | undefined {
  if (env['OMG_CONFIG']) return env['OMG_CONFIG']
  const base = env['XDG_CONFIG_HOME'] || (env['HOME'] && join(env['HOME'], '.config'))
  return base ? join(base, 'omgfiles', 'config.json') : undefined
}

/** Reads them; none where there is no file. Throws CommandFailure for a file that must not be used. */
export async function readProfiles(env: NodeJS.ProcessEnv): Promise<Profiles> {
  const path = profilePath(env)
  const text = path === undefined ? undefined : await readIfThere(path)
  if (path === undefined || text === undefined) return { profiles: {} }
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
    throw new CommandFailure(`${path} holds tokens and others may read it: chmod 600 it`)
  }
  const value = parse(text)
  if (!isProfiles(value)) throw new CommandFailure(`${path} is not what omg login writes`)
  return value
}

/** Writes them, whole or not at all, for this user only. Throws CommandFailure without a home. */
export async function writeProfiles(env: NodeJS.ProcessEnv, profiles: Profiles): Promise<string> {
  const path = profilePath(env)
  if (path === undefined) throw new CommandFailure('there is no HOME: OMG_CONFIG names the file')
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

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
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
