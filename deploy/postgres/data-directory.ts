/**
 * The data directory of an embedded Postgres, with the password of its only user inside. It is created
 * completely or not at all.
 */
import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { chown, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ConfigError } from '../../common/config.ts'
import type { Binaries } from './binaries.ts'

/** The only role and the only database of an embedded Postgres. */
export const role = 'omg'
export const database = 'omgfiles'

/** The user that Postgres runs as when we are root. */
export interface Identity {
  readonly uid: number
  readonly gid: number
}

export interface DataDirectory {
  readonly path: string
  /** Undefined: Postgres runs as our own user. */
  readonly identity: Identity | undefined
  readonly password: string
}

const passwordFile = 'omg-password'
const nobody: Identity = { uid: 65534, gid: 65534 }

/** The environment of Postgres: messages in English, times in UTC, and nothing of our own. */
const environment = { LC_ALL: 'C', TZ: 'UTC' }

/** Options for starting the programs of Postgres on the data directory `path`. */
export function spawnOptions(path: string, identity: Identity | undefined) {
  return { cwd: path, env: environment, ...identity }
}

/**
 * The data directory as an argument for Postgres. When it runs as another user, it may not be able to
 * reach `path`, which may be below a closed directory such as /root. But it can always use its working
 * directory, which is entered before the user changes.
 */
export function dataArgument(path: string, identity: Identity | undefined): string {
  return identity ? '/proc/self/cwd' : path
}

/**
 * True when we are root and Postgres, which refuses to run as root, has to run as somebody else.
 * Throws ConfigError where that cannot be arranged.
 */
export function needsIdentity(): boolean {
  if (process.getuid?.() !== 0) return false
  if (process.platform === 'linux') return true
  throw new ConfigError(
    'the embedded Postgres does not run as root here: use an ordinary user, or give --database-url',
  )
}

interface OpenOptions {
  readonly dir: string
  readonly binaries: Binaries
  readonly throwaway: boolean
}

/** The data directory below `dir`. It is created with initdb when there is none. */
export async function openDataDirectory(options: OpenOptions): Promise<DataDirectory> {
  const path = join(options.dir, 'data')
  if (!(await isInitialized(path))) await initialize(path, options)
  const { uid, gid } = await stat(path)
  return {
    path,
    // Not always uid 65534: root may use a directory that an ordinary user has created.
    identity: needsIdentity() ? { uid, gid } : undefined,
    password: await readFile(join(path, passwordFile), 'utf8'),
  }
}

const isInitialized = (path: string): Promise<boolean> =>
  stat(join(path, 'PG_VERSION')).then(
    () => true,
    () => false,
  )

/** Creates the data directory under another name and renames it, so that a crash leaves nothing half done. */
async function initialize(path: string, { dir, binaries, throwaway }: OpenOptions): Promise<void> {
  const identity = needsIdentity() ? nobody : undefined
  await mkdir(dir, { recursive: true })
  await removeUnfinished(dir)
  const fresh = join(dir, `init-${process.pid}`)
  await mkdir(fresh, { mode: 0o700 })
  try {
    if (identity) await chown(fresh, identity.uid, identity.gid)
    const password = randomBytes(24).toString('hex')
    await runInitdb(fresh, { binaries, identity, throwaway })
    await createDatabase(fresh, { binaries, identity, password })
    await writePassword(fresh, { identity, password })
    await rename(fresh, path)
  } catch (err) {
    await rm(fresh, { recursive: true, force: true })
    // Another process may have created the directory meanwhile; then its password is used.
    if (!(await isInitialized(path))) throw err
  }
}

async function removeUnfinished(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const pid = Number(/^init-(\d+)$/.exec(name)?.[1])
    if (Number.isNaN(pid) || (pid !== process.pid && isAlive(pid))) continue
    await rm(join(dir, name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM'
  }
}

interface Programs {
  readonly binaries: Binaries
  readonly identity: Identity | undefined
}

async function runInitdb(
  path: string,
  { binaries, identity, throwaway }: Programs & { throwaway: boolean },
): Promise<void> {
  const args = [
    '-D',
    dataArgument(path, identity),
    `--username=${role}`,
    '--encoding=UTF8',
    '--locale=C',
    '--data-checksums',
    '--auth-local=reject',
    '--auth-host=scram-sha-256',
    '--no-instructions',
    ...(throwaway ? ['--no-sync'] : []),
  ]
  await run(binaries.initdb, args, { path, identity, input: '' })
}

/** Runs Postgres in single-user mode, so that the password is on no command line and in no readable file. */
async function createDatabase(
  path: string,
  { binaries, identity, password }: Programs & { password: string },
): Promise<void> {
  // Without exit_on_error, a statement that fails only prints a line in this mode.
  const args = [
    '--single',
    '-D',
    dataArgument(path, identity),
    '-c',
    'exit_on_error=on',
    'template1',
  ]
  const input = `alter role ${role} password '${password}'\ncreate database ${database}\n`
  await run(binaries.postgres, args, { path, identity, input })
}

async function writePassword(
  path: string,
  { identity, password }: { identity: Identity | undefined; password: string },
): Promise<void> {
  const file = await open(join(path, passwordFile), 'wx', 0o600)
  try {
    await file.writeFile(password)
    // Postgres opens all files in its directory when it recovers from a crash.
    if (identity) await file.chown(identity.uid, identity.gid)
    await file.sync()
  } finally {
    await file.close()
  }
}

interface RunOptions {
  readonly path: string
  readonly identity: Identity | undefined
  readonly input: string
}

/** Runs a program to its end. Throws an Error with the last line of its output when it fails. */
async function run(program: string, args: string[], { path, identity, input }: RunOptions) {
  const child = spawn(program, args, {
    ...spawnOptions(path, identity),
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  const status = new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve(signal ?? String(code)))
  })
  child.stdin.on('error', () => {}) // it may end without reading; its status tells
  child.stdin.end(input)
  const [ended, said] = await Promise.all([status, text(child.stderr)])
  if (ended === '0') return
  throw new Error(`${program} ended with ${ended}: ${said.trim().split('\n').at(-1)}`)
}
