/**
 * The embedded Postgres, for when no DATABASE_URL is given. It listens on loopback only, requires a
 * password, keeps everything below one directory, and is restarted until it is closed.
 */
import { createServer } from 'node:net'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../common/log.ts'
import { findBinaries } from './postgres/binaries.ts'
import { database, needsIdentity, openDataDirectory, role } from './postgres/data-directory.ts'
import { clearLock, takeOver } from './postgres/previous-owner.ts'
import {
  StartError,
  startPostmaster,
  type Postmaster,
  type PostmasterOptions,
} from './postgres/postmaster.ts'

export interface PostgresOptions {
  /** The directory for the data, created if missing. Only one process at a time may use it. */
  readonly dir: string
  /** The port to use if it is free; otherwise another one is used. */
  readonly port?: number
  /** For tests: faster, but the data may be lost when the machine crashes. */
  readonly throwaway?: boolean
  readonly log: Logger
}

export interface EmbeddedPostgres {
  /** URL of the database `omgfiles`, with its password. It stays the same until `close`. */
  readonly url: string
  readonly port: number
  /** The process id of the server. It changes when the server is restarted. */
  pid(): number
  /** Stops the server; resolves once it has ended. May be called twice. */
  close(): Promise<void>
}

/** Milliseconds that the first start waits for sessions of a server that was killed just before. */
const formerSessionsMs = 30_000
const firstRestMs = 50
const longestRestMs = 5_000

/**
 * Starts Postgres on `dir`, which is set up first if it is new. Resolves when Postgres accepts
 * connections. From then on, a server that dies is started again on the same port. A server that a
 * killed process has left running on `dir` is stopped first.
 *
 * When we are root, Postgres runs as the owner of its data; new data belongs to uid 65534.
 *
 * Throws ConfigError when there is no Postgres for this platform, or when another process uses `dir`.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const { log, throwaway = false } = options
  const dir = resolve(options.dir)
  await mkdir(dir, { recursive: true })
  const binaries = await findBinaries({ everyone: needsIdentity() })
  const data = await openDataDirectory({ dir, binaries, throwaway })
  await takeOver(dir, data.path, log)
  const port = await freePort(options.port ?? 0)
  const first = await startFirst({ binaries, data, port, throwaway, log })
  const kept = keepRunning(first.postmaster, first.options)
  const url = `postgres://${role}:${data.password}@127.0.0.1:${first.options.port}/${database}`
  log.info({ port: first.options.port, serverPid: first.postmaster.pid }, 'postgres serves')
  return { url, port: first.options.port, ...kept }
}

/** `preferred` if nothing listens on it, or else a port that the system chooses. */
async function freePort(preferred: number): Promise<number> {
  const probe = createServer()
  try {
    probe.listen(preferred, '127.0.0.1')
    await once(probe, 'listening')
    const address = probe.address()
    return typeof address === 'object' && address ? address.port : preferred
  } catch (err) {
    if (preferred === 0) throw err
    return freePort(0)
  } finally {
    if (probe.listening) await new Promise(done => probe.close(done))
  }
}

/** Starts the server for the first time. Tries again when the port is taken, or former sessions still live. */
async function startFirst(
  wanted: PostmasterOptions,
): Promise<{ postmaster: Postmaster; options: PostmasterOptions }> {
  const deadline = Date.now() + formerSessionsMs
  let options = wanted
  for (;;) {
    try {
      await clearLock(options.data.path)
      return { postmaster: await startPostmaster(options), options }
    } catch (err) {
      const obstacle = err instanceof StartError ? err.obstacle : undefined
      if (obstacle === undefined || Date.now() > deadline) throw err
      // Another process took the port after we had checked it.
      if (obstacle === 'port taken') options = { ...options, port: await freePort(0) }
      await sleep(firstRestMs)
    }
  }
}

/** Restarts the server whenever it ends, until `close`. */
function keepRunning(
  first: Postmaster,
  options: PostmasterOptions,
): Pick<EmbeddedPostgres, 'pid' | 'close'> {
  const { log } = options
  const closing = new AbortController()
  let postmaster = first

  async function restart(): Promise<void> {
    for (let restMs = firstRestMs; ; restMs = Math.min(2 * restMs, longestRestMs)) {
      try {
        await sleep(restMs, undefined, { signal: closing.signal })
        await clearLock(options.data.path)
        postmaster = await startPostmaster(options, closing.signal)
        return
      } catch (err) {
        if (closing.signal.aborted) return
        log.warn({ err, ms: restMs }, 'postgres not started, trying again')
      }
    }
  }

  async function supervise(): Promise<void> {
    while (!closing.signal.aborted) {
      const end = await postmaster.ended
      if (closing.signal.aborted) return
      log.error({ end, serverPid: postmaster.pid }, 'postgres ended, starting it again')
      await restart()
      if (!closing.signal.aborted) log.info({ serverPid: postmaster.pid }, 'postgres serves again')
    }
  }

  const supervised = supervise()
  return {
    pid: () => postmaster.pid,
    async close() {
      closing.abort()
      await postmaster.stop()
      await supervised
      // A restart may have been under way, and is done now.
      await postmaster.stop()
    },
  }
}
