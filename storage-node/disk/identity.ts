/**
 * Which disk a device is. A mounted disk carries a mark, and the root remembers it: a disk that is
 * empty, missing or another one is refused until a person removes what the root remembers. A plain
 * directory is itself, for as long as the process runs.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, realpath, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CodedError } from '../../common/errors.ts'
import type { Logger } from '../../common/log.ts'
import type { Disk } from './disk.ts'
import { hasErrno } from './errno.ts'

/** A directory as it was found. */
export interface Identity {
  /** Absolute, without symbolic links. */
  readonly directory: string
  /** `st_dev` and `st_ino`. */
  readonly fileSystem: number
  readonly inode: number
  /** A file system of this machine: what was read lately is read again from memory. */
  readonly isLocal: boolean
}

/** ext2 to ext4, XFS, btrfs, tmpfs, overlayfs (statfs(2)). */
const localTypes: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630,
])

/** On the disk: its mark, `dev<N> <uuid>`. */
const markName = '.omg-device'

/** Below the root: what marks are expected, a file `dev<N>` each. */
const registryName = '.omg-devices'

const notMounted = (devid: number, why: string): CodedError =>
  new CodedError('device_not_mounted', `the disk of dev${devid} is not mounted: ${why}`)

const noSuchDevice = (devid: number): CodedError =>
  new CodedError('no_such_device', `no device dev${devid} here`)

/**
 * Finds a device below `root` for the first time. Throws no_such_device, or device_not_mounted when it
 * is not the disk that was there before.
 */
export async function findDevice(root: string, devid: number, log: Logger): Promise<Identity> {
  const identity = await look(join(root, `dev${devid}`), devid)
  const { dev: rootFileSystem } = await stat(root)
  const registered = join(root, registryName, `dev${devid}`)
  const expected = await readText(registered)
  if (identity.fileSystem === rootFileSystem) {
    if (expected !== undefined) throw notMounted(devid, 'only its directory is there')
    return identity
  }
  const markFile = join(identity.directory, markName)
  const mark = await readText(markFile)
  if (mark === undefined && expected !== undefined) {
    throw notMounted(devid, `an unmarked disk is in its place; remove ${registered} to take that`)
  }
  if (mark !== undefined && mark !== expected) {
    if (expected !== undefined) {
      throw notMounted(devid, `another disk is in its place; remove ${registered} to take that`)
    }
    if (!mark.startsWith(`dev${devid} `)) {
      throw notMounted(
        devid,
        `the disk is ${mark.split(' ')[0]}; remove its ${markName} to take it`,
      )
    }
  }
  if (mark === undefined || expected === undefined) {
    const text = mark ?? `dev${devid} ${randomUUID()}`
    try {
      // The disk first: a crash in between leaves a mark that nobody expects, which is taken.
      if (mark === undefined) await writeText(markFile, text)
      await writeText(registered, text)
    } catch (err) {
      // Read-only, or not ours to write: the number of the file system must do.
      log.warn({ err, devid }, 'the disk cannot be marked')
    }
  }
  return identity
}

/** Throws no_such_device or device_not_mounted unless what was found is still in its place. */
export async function checkIdentity(devid: number, known: Identity, disk: Disk): Promise<void> {
  const found = await disk.stat(known.directory).catch((err: unknown) => {
    if (hasErrno(err, 'ENOENT', 'ENOTDIR')) throw noSuchDevice(devid)
    throw err
  })
  if (found.dev !== known.fileSystem || found.ino !== known.inode) {
    throw notMounted(devid, 'another directory is in its place')
  }
}

async function look(path: string, devid: number): Promise<Identity> {
  try {
    const directory = await realpath(path)
    const found = await stat(directory)
    if (found.isDirectory()) {
      const isLocal = localTypes.has((await statfs(directory)).type)
      return { directory, fileSystem: found.dev, inode: found.ino, isLocal }
    }
  } catch (err) {
    if (!hasErrno(err, 'ENOENT', 'ENOTDIR')) throw err
  }
  throw noSuchDevice(devid)
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (err) {
    if (hasErrno(err, 'ENOENT', 'ENOTDIR')) return undefined
    throw err
  }
}

async function writeText(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  const handle = await open(file, 'w', 0o644)
  try {
    await handle.writeFile(`${text}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
