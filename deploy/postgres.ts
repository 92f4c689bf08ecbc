/**
 * The embedded Postgres: what serves where no DATABASE_URL is given. It listens on loopback only,
 * asks for a password, keeps everything below one directory, and is kept running until closed.
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
  /** Holds the data and is made if missing. One process at a time may use it. */
  readonly dir: string
  /** The port to take if it is free; another one is taken otherwise. */
  readonly port?: number
  /** For tests: faster, and not safe against a crash of the machine. */
  readonly throwaway?: boolean
  readonly log: Logger
}

export interface EmbeddedPostgres {
  /** Of the database `omgfiles`, with the password in it. Holds until `close`, across restarts. */
  readonly url: string
  readonly port: number
  /** The process id of the server; another one after it was restarted. */
  pid(): number
  /** Ends the server; resolves once it is gone. May be called twice. */
  close(): Promise<void>
}

/** How long a first start waits for the sessions of a server that was killed just before. */
const formerSessionsMs = 30_000
const firstRestMs = 50
const longestRestMs = 5_000

/**
 * Starts Postgres on `dir`, which is set up first when it is new, and resolves when it accepts
 * connections. From then on a server that dies is started again on the same port. A server that a
 * killed process left behind on `dir` is ended first.
 * As root, Postgres runs as the owner of its data, at first uid 65534.
 * Throws ConfigError when there is no Postgres for this platform, or a live process uses `dir`.
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

/** `preferred` if nobody listens on it, or else a port the system chooses. */
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
      // Somebody took the port after we looked.
      if (obstacle === 'port taken') options = { ...options, port: await freePort(0) }
      await sleep(firstRestMs)
    }
  }
}

/** Starts the server again whenever it ends, until `close`. */
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
      // A restart that was under way has finished meanwhile.
      await postmaster.stop()
    },
  }
}
