/** One run of the Postgres server process, from start to end. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../common/log.ts'
import type { Binaries } from './binaries.ts'
import { dataArgument, spawnOptions, type DataDirectory } from './data-directory.ts'
import { fastShutdownMs } from './previous-owner.ts'

export interface PostmasterOptions {
  readonly binaries: Binaries
  readonly data: DataDirectory
  readonly port: number
  /** Do not flush: the data may be lost when the machine crashes. */
  readonly throwaway: boolean
  readonly log: Logger
}

export interface Postmaster {
  readonly pid: number
  /** How it ended: an exit status or the name of a signal. */
  readonly ended: Promise<string>
  /** Stops it: first fast, and by force when that takes too long. Resolves once it has ended. */
  stop(): Promise<void>
}

/** Why a start failed, when another try may succeed. */
type Obstacle = 'port taken' | 'former sessions' | undefined

/** Postgres ended before it accepted connections. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly obstacle: Obstacle

  constructor(message: string, obstacle: Obstacle) {
    super(message)
    this.obstacle = obstacle
  }
}

// Recovery after a crash replays up to max_wal_size of log before connections are accepted.
const startMs = 300_000
/** Milliseconds to wait for the last output of a server that has ended. */
const lastWordsMs = 500

/**
 * Starts Postgres. Resolves when it accepts connections; throws StartError when it ends instead, or
 * is ended because `signal` aborts.
 */
export async function startPostmaster(
  options: PostmasterOptions,
  signal?: AbortSignal,
): Promise<Postmaster> {
  const { binaries, data, log } = options
  const child = spawn(binaries.postgres, serverArguments(options), {
    ...spawnOptions(data.path, data.identity),
    stdio: ['ignore', 'ignore', 'pipe'],
    // Ctrl-C on a terminal goes to the whole process group, but we stop Postgres last.
    detached: true,
  })
  const ended = endOf(child)
  const stop = (): Promise<void> => stopChild(child, ended)
  let cause = ''
  let obstacle: Obstacle
  const serves = new Promise<undefined>(resolve => {
    createInterface(child.stderr).on('line', line => {
      const [, severity, message = line] = /^(\w+): {2}(.*)$/.exec(line) ?? []
      log.debug({ severity }, message)
      if (message === 'database system is ready to accept connections') resolve(undefined)
      // The failure of a session, such as one that connects too early, is not one of the server.
      const isSession = message.startsWith('the database system is ')
      if ((severity === 'FATAL' || severity === 'PANIC') && !isSession) cause = message
      obstacle ??= obstacleIn(message)
    })
  })
  const limit = AbortSignal.any([AbortSignal.timeout(startMs), ...(signal ? [signal] : [])])
  const limited = new Promise<string>(resolve => {
    limit.addEventListener('abort', () => resolve(signal?.aborted ? 'closed' : 'no answer'))
  })
  const failure = await Promise.race([serves, ended, limited])
  if (failure === undefined) return { pid: child.pid ?? 0, ended, stop }
  await stop()
  throw new StartError(`postgres did not start: ${cause || failure}`, obstacle)
}

function serverArguments({ data, port, throwaway }: PostmasterOptions): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    log_line_prefix: '',
    log_checkpoints: 'off',
    ...(throwaway ? { fsync: 'off', full_page_writes: 'off' } : {}),
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  return ['-D', dataArgument(data.path, data.identity), ...flags]
}

/** Postgres reports these only as text, which is in English because of the locale that we set. */
function obstacleIn(message: string): Obstacle {
  if (message.startsWith('could not create any TCP/IP sockets')) return 'port taken'
  // The server was killed; its sessions end when they notice.
  if (message.startsWith('pre-existing shared memory block')) return 'former sessions'
  return undefined
}

type Child = ChildProcessByStdio<null, null, Readable>

async function endOf(child: Child): Promise<string> {
  const endWithUs = (): boolean => child.kill('SIGINT')
  process.once('exit', endWithUs)
  try {
    const closed = new Promise(resolve => child.once('close', resolve))
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    // Sessions that outlive a killed server keep the pipe open.
    await Promise.race([closed, sleep(lastWordsMs)])
    return signal ?? String(code)
  } finally {
    process.off('exit', endWithUs)
  }
}

async function stopChild(child: Child, ended: Promise<string>): Promise<void> {
  child.kill('SIGINT')
  const force = setTimeout(() => child.kill('SIGQUIT'), fastShutdownMs)
  await ended.finally(() => clearTimeout(force))
}
