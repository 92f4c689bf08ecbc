/**
 * The reproxy stands before the application servers. When the application answers with a list of
 * replicas instead of a file, the reproxy streams the file from them, so that file bytes never pass
 * the application. What it keeps is in memory only. It promises that a client gets the exact bytes of
 * one file, or an error, or a connection that is visibly broken; that only listed storage nodes are
 * ever contacted; and that a slow peer costs a bounded amount of memory.
 */
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { ConfigError, formatAddress, parseAddress, type Address } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import { BodyCache } from './cache/body-cache.ts'
import { MapCache } from './cache/map-cache.ts'
import { plainAddress } from './config/addresses.ts'
import type { ReproxyConfig, TlsConfig } from './config/schema.ts'
import { createFront } from './front/front.ts'
import type { Listen } from './front/listening.ts'
import { newAccessRecord, openAccessLog, type AccessLog } from './operation/access-log.ts'
import { createAdmin, type StatusTable } from './operation/admin.ts'
import { Metrics } from './operation/metrics.ts'
import { statusTables } from './operation/status.ts'
import { createHandler } from './request/handler.ts'
import { createSite, type Site } from './request/site.ts'

export { ReproxyConfig } from './config/schema.ts'
export { readConfig, resolveConfig } from './config/load.ts'

export interface Reproxy extends Daemon {
  /** Where it listens. Throws before `start`. */
  readonly address: Address
  readonly metrics: Metrics
  /** What the status page shows. */
  status(): StatusTable[]
  /**
   * Goes over to other settings without dropping a connection; certificates and logs are opened anew.
   * What cannot change while it listens is logged and stays. Throws ConfigError and changes nothing.
   */
  configure(config: ReproxyConfig): Promise<void>
}

/** Settings that are fixed while the listeners are open. */
const fixed = ['listen', 'adminListen', 'maxHeaderBytes', 'maxTargetBytes', 'workers'] as const

/** Milliseconds between two looks at the certificate's files. */
const certificateCheckMs = 2_000

/** Creates a reproxy; it serves when started. Throws ConfigError. */
export function createReproxy(initial: ReproxyConfig, log: Logger): Reproxy {
  let config = initial
  const metrics: Metrics = new Metrics({
    inflight: () => handler.inflight,
    breakers: () =>
      [...site.nodes.states()].map(({ name, breaker }) => [name, breaker.state] as const),
  })
  const maps = new MapCache(config.mapCacheEntries, metrics)
  const bodies = new BodyCache(bodyOptions(config), metrics)
  const parts = { metrics, maps, bodies, inflight: () => handler.inflight, log }
  let site: Site = createSite(config, parts)
  let accessLog: AccessLog = openLog(config, log)
  const handler = createHandler({
    site: () => site,
    accessLog: () => accessLog,
    metrics,
    draining: () => front.draining,
    log,
  })
  const front = createFront(
    {
      ...config,
      listen: parseListen('--listen', config.listen),
      tls: config.tls && {
        listen: parseListen('tls.listen', config.tls.listen),
        credentials: readCredentials(config.tls),
      },
    },
    {
      serve: client => handler.serve(client),
      refused(socket, status) {
        const record = newAccessRecord(plainAddress(socket.remoteAddress ?? ''))
        metrics.request(status)
        accessLog.write(record, { status, bytesIn: 0, bytesOut: 0, ttfbMs: undefined })
      },
      isUnlimited: address => site.isUnlimited(address),
    },
  )
  let started = false
  const admin =
    config.adminListen === undefined
      ? undefined
      : createAdmin(parseAddress('--admin-listen', config.adminListen), {
          ready: () => started && !front.draining,
          metrics: () => metrics.registry.metrics(),
          status: () => statusTables(site, handler.inflight),
        })
  let watch: NodeJS.Timeout | undefined
  let seen = config.tls && stampOf(config.tls)

  /** Certificates are renewed by others, who need not know about us. */
  function checkCertificate(): void {
    const { tls } = config
    const stamp = tls && stampOf(tls)
    if (!tls || stamp === undefined || stamp === seen) return
    seen = stamp
    try {
      front.setCredentials(readCredentials(tls))
      log.info('certificate read anew')
    } catch (err) {
      // The other of the two files may still be on its way: then the stamp changes once more.
      log.warn({ err }, 'the certificate stays as it was')
    }
  }

  return {
    async start() {
      await site.start()
      await front.start()
      await admin?.start()
      if (config.tls) watch = setInterval(checkCertificate, certificateCheckMs).unref()
      started = true
      log.info({ ...this.listening() }, 'serving')
    },
    async close() {
      clearInterval(watch)
      try {
        await front.close()
      } finally {
        await admin?.close()
        await site.close()
        accessLog.close()
      }
    },
    async configure(wanted) {
      const next = keepFixed(config, wanted, log)
      const nextSite = createSite(next, parts, site)
      const sameLog =
        config.accessLog === next.accessLog && config.accessLogFormat === next.accessLogFormat
      let nextLog: AccessLog | undefined
      try {
        const credentials = next.tls && readCredentials(next.tls)
        nextLog = sameLog ? undefined : openLog(next, log)
        if (credentials) front.setCredentials(credentials)
      } catch (err) {
        nextLog?.close()
        await nextSite.close()
        throw err
      }
      if (nextLog) {
        accessLog.close()
        accessLog = nextLog
      } else accessLog.reopen()
      await nextSite.start()
      const before = site
      site = nextSite
      config = next
      seen = next.tls && stampOf(next.tls)
      maps.configure(next.mapCacheEntries)
      bodies.configure(bodyOptions(next))
      front.configure(next)
      before.retire()
    },
    get address() {
      return front.address
    },
    metrics,
    status: () => statusTables(site, handler.inflight),
    listening() {
      const tls = front.tlsAddress
      return {
        http: formatAddress(front.address),
        ...(tls ? { https: formatAddress(tls) } : {}),
        ...(admin ? { admin: formatAddress(admin.address) } : {}),
      }
    },
  }
}

const bodyOptions = (config: ReproxyConfig) => ({
  maxBytes: config.bodyCacheBytes,
  maxFile: config.bodyCacheMaxFile,
  ttlMs: config.bodyCacheTtlMs,
})

/** `wanted`, with what cannot change as it is. */
function keepFixed(config: ReproxyConfig, wanted: ReproxyConfig, log: Logger): ReproxyConfig {
  const kept = { ...wanted, ...Object.fromEntries(fixed.map(name => [name, config[name]])) }
  const changed: string[] = fixed.filter(name => config[name] !== wanted[name])
  if (config.tls?.listen !== wanted.tls?.listen) changed.push('tls.listen')
  if (changed.length > 0) log.warn({ settings: changed }, 'these change with a restart only')
  const tls = config.tls && { ...(wanted.tls ?? config.tls), listen: config.tls.listen }
  const { tls: _, ...rest } = kept
  return tls ? { ...rest, tls } : rest
}

function openLog({ accessLog, accessLogFormat }: ReproxyConfig, log: Logger): AccessLog {
  try {
    return openAccessLog({ path: accessLog, format: accessLogFormat }, log)
  } catch (err) {
    throw new ConfigError(`--access-log: ${(err as Error).message}`)
  }
}

function parseListen(setting: string, text: string): Listen {
  const [, fd] = /^fd:(\d{1,4})$/.exec(text) ?? []
  return fd === undefined ? parseAddress(setting, text) : { fd: Number(fd) }
}

/** Throws ConfigError unless certificate and key can be read and belong together. */
function readCredentials({ certFile, keyFile }: TlsConfig): SecureContextOptions {
  const read = (setting: string, path: string): Buffer => {
    try {
      return readFileSync(path)
    } catch (err) {
      throw new ConfigError(`tls.${setting}: ${(err as Error).message}`)
    }
  }
  const credentials = { cert: read('certFile', certFile), key: read('keyFile', keyFile) }
  try {
    createSecureContext(credentials)
  } catch (err) {
    throw new ConfigError(`tls: ${certFile} and ${keyFile}: ${(err as Error).message}`)
  }
  return credentials
}

/** Changes whenever one of the files does; undefined while one is not there. */
function stampOf({ certFile, keyFile }: TlsConfig): string | undefined {
  try {
    const stamps = [certFile, keyFile].map(path => {
      const { mtimeMs, ino, size } = statSync(path)
      return `${mtimeMs} ${ino} ${size}`
    })
    return stamps.join(' ')
  } catch {
    return undefined
  }
}
