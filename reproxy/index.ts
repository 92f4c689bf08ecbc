/**
 * The reproxy stands before the application servers. When the application answers with a list of
 * replicas instead of a file, the reproxy streams the file from them, so that file bytes never pass
 * the application. It keeps nothing. It promises that a client gets the exact bytes of one file, or
 * an error, or a connection that is visibly broken; that only listed storage nodes are ever
 * contacted; and that a slow peer costs a bounded amount of memory.
 */
import { randomBytes } from 'node:crypto'
import { ConfigError, formatAddress, parseAddress, type Address } from '../common/config.ts'
import type { Daemon } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import { logAccess, newAccessRecord } from './access-log.ts'
import { holdsAddress, parseAddressList, plainAddress, splitList } from './addresses.ts'
import { createApp } from './app.ts'
import type { ReproxyConfig } from './config.ts'
import { createFront } from './front.ts'
import { createHandler } from './handler.ts'
import { createNodes } from './nodes.ts'
import { UpstreamPool } from './pool.ts'
import { parseAllowList } from './targets.ts'
import { createTrackerTargets } from './tracker-targets.ts'

export { ReproxyConfig } from './config.ts'

export interface Reproxy extends Daemon {
  /** Where it listens. Throws before `start`. */
  readonly address: Address
}

/** Creates a reproxy; it serves when started. Throws ConfigError. */
export function createReproxy(config: ReproxyConfig, log: Logger): Reproxy {
  const listen = parseAddress('--listen', config.listen)
  const appPeer = parseAddress('--app', config.app)
  const allowList = parseAllowList('allow-targets', config.allowTargets)
  const trusted = parseAddressList('trusted-proxies', config.trustedProxies)
  const viaName = config.viaName ?? `omg-${randomBytes(8).toString('hex')}`

  const pool = new UpstreamPool({
    maxHeadBytes: config.maxHeaderBytes,
    // The other half is for what the client's socket has not taken yet.
    bufferBytes: Math.floor(config.bufferBytes / 2),
  })
  const trackers = { trackers: trackerUrls(config.tracker), token: config.trackerToken }
  const trackerTargets = createTrackerTargets(trackers, log)
  const handler = createHandler({
    app: createApp({
      pool,
      app: appPeer,
      connectTimeoutMs: config.connectTimeoutMs,
      appTimeoutMs: config.appTimeoutMs,
      uploadStallMs: config.clientStallTimeoutMs,
    }),
    appName: formatAddress(appPeer),
    limits: config,
    relay: {
      nodes: createNodes({
        pool,
        allowList,
        trackerTargets,
        connectTimeoutMs: config.connectTimeoutMs,
        firstByteTimeoutMs: config.firstByteTimeoutMs,
      }),
      maxAttempts: config.maxAttempts,
      stallTimeoutMs: config.stallTimeoutMs,
    },
    viaName,
    isTrusted: address => holdsAddress(trusted, address),
    maxInflight: config.maxInflight,
    clientStallTimeoutMs: config.clientStallTimeoutMs,
    draining: () => front.draining,
    log,
  })
  const front = createFront(
    { ...config, listen },
    {
      serve: handler,
      refused(socket, status) {
        const record = newAccessRecord(plainAddress(socket.remoteAddress ?? ''))
        logAccess(log, record, { status, bytesIn: 0, bytesOut: 0, ttfbMs: undefined })
      },
    },
  )

  return {
    async start() {
      await trackerTargets.start()
      await front.start()
      log.info({ listen: formatAddress(front.address), app: formatAddress(appPeer) }, 'serving')
    },
    async close() {
      try {
        await front.close()
      } finally {
        await trackerTargets.close()
        pool.close()
      }
    },
    get address() {
      return front.address
    },
    listening() {
      return { http: formatAddress(front.address) }
    },
  }
}

function trackerUrls(setting: string): string[] {
  const urls = splitList(setting)
  for (const url of urls) {
    if (!/^https?:\/\/[^/?#@]+\/*$/.test(url) || !URL.canParse(url)) {
      throw new ConfigError(`--tracker: not the URL of a tracker: ${JSON.stringify(url)}`)
    }
  }
  return urls
}
