/**
 * Taking over a data directory from a process that was killed. A data directory has one postmaster (the
 * server process of Postgres), and that has one owner, the process that started it. When the owner is
 * killed, the postmaster keeps running; the next owner stops it and starts its own.
 */
import { execFile } from 'node:child_process'
import { readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ConfigError } from '../../common/config.ts'
import type { Logger } from '../../common/log.ts'

/** Milliseconds that a postmaster gets to end its sessions and write a checkpoint. */
export const fastShutdownMs = 5_000
const pollMs = 20

/**
 * Makes this process the owner of `dir`, whose data directory is `data`. Stops a postmaster that runs
 * there without its owner. Throws ConfigError when the owner is alive.
 */
export async function takeOver(dir: string, data: string, log: Logger): Promise<void> {
  const ownerFile = join(dir, 'owner')
  const owner = Number(await readFile(ownerFile, 'utf8').catch(() => 'none'))
  const pid = await postmasterPid(data)
  if (pid !== undefined && (await isPostmaster(pid, data))) {
    // If its owner had ended, it would have another parent now.
    if ((await parentOf(pid)) === owner) {
      throw new ConfigError(`${dir} is in use by process ${owner}`)
    }
    log.warn({ serverPid: pid }, 'ending the postgres of an owner that is gone')
    await end(pid, data)
  }
  await writeFile(ownerFile, String(process.pid), { mode: 0o600 })
}

/**
 * Prepares `data` for a start after a crash. Call it only when no postmaster runs. Postgres refuses to
 * start when the process that its lock file names is alive, even if that id belongs to another program
 * by now. It makes an exception for its own parent, so we write our own id into the file. We do not
 * remove it, because it also names the shared memory by which Postgres finds out that sessions of the
 * former server are still alive.
 */
export async function clearLock(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid')
  const lock = await readFile(file, 'utf8').catch(() => undefined)
  if (lock === undefined) return
  // A power cut can leave it empty, which Postgres does not accept.
  if (lock.trim() === '') await rm(file)
  else await writeFile(file, lock.replace(/^.*/, String(process.pid)))
}

/** The process id in the first line of the lock file. */
async function postmasterPid(data: string): Promise<number | undefined> {
  const lock = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(lock, 10)
  return pid > 1 ? pid : undefined
}

/** True when process `pid` is alive and is Postgres on the directory `data`. */
async function isPostmaster(pid: number, data: string): Promise<boolean> {
  if (process.platform !== 'linux') {
    const command = await ps(pid, 'command')
    return command.includes('postgres') && command.includes(data)
  }
  try {
    // The working directory of Postgres is its data directory. A zombie process has none.
    const [name, cwd, real] = await Promise.all([
      readFile(`/proc/${pid}/comm`, 'utf8'),
      readlink(`/proc/${pid}/cwd`),
      realpath(data),
    ])
    return name.trim() === 'postgres' && cwd === real
  } catch {
    return false // it has ended, or belongs to a user whose processes we cannot see
  }
}

async function parentOf(pid: number): Promise<number> {
  if (process.platform !== 'linux') return Number(await ps(pid, 'ppid'))
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // pid (name) state ppid …; the name may hold spaces and parentheses (proc(5)).
  return Number(stat.slice(stat.lastIndexOf(')') + 1).split(' ')[2])
}

async function ps(pid: number, column: 'command' | 'ppid'): Promise<string> {
  const args = ['-ww', '-o', `${column}=`, '-p', String(pid)]
  return promisify(execFile)('ps', args).then(
    ({ stdout }) => stdout.trim(),
    () => '',
  )
}

async function end(pid: number, data: string): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    try {
      process.kill(pid, signal)
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err
    }
    const deadline = Date.now() + fastShutdownMs
    while (Date.now() < deadline) {
      if (!(await isPostmaster(pid, data))) return
      await sleep(pollMs)
    }
  }
  throw new Error(`postgres, process ${pid}, does not end`)
}
