/** Everything that follows from the settings and may be replaced while the listeners stay. */
import { randomBytes } from 'node:crypto'
import type { BlockList } from 'node:net'
import { isAbsolute } from 'node:path'
import { ConfigError, isLoopback, parseAddress, type Address } from '../../common/config.ts'
import type { Service } from '../../common/daemon.ts'
import type { Logger } from '../../common/log.ts'
import { createApp, type App } from '../app/app.ts'
import { Backends } from '../app/backends.ts'
import type { BodyCache } from '../cache/body-cache.ts'
import type { MapCache } from '../cache/map-cache.ts'
import { createSharedFetches } from '../cache/shared-fetch.ts'
import { holdsAddress, parseAddressList, plainAddress } from '../config/addresses.ts'
import type { ReproxyConfig } from '../config/schema.ts'
import { createDirect, type Direct } from '../direct/direct.ts'
import { createLocator } from '../direct/locate.ts'
import { createNodes, type Nodes } from '../nodes/nodes.ts'
import { createTrackerReports } from '../nodes/reports.ts'
import { RetryBudget } from '../nodes/retry-budget.ts'
import { AllowList, parseAllowList } from '../nodes/targets.ts'
import { createTrackerAgent, createTrackerTargets } from '../nodes/tracker-targets.ts'
import type { Metrics } from '../operation/metrics.ts'
import type { FileServices } from '../reproxied/file-response.ts'
import { UpstreamPool } from '../upstream/pool.ts'

/** What outlives a site. */
export interface SiteParts {
  readonly metrics: Metrics
  readonly maps: MapCache
  readonly bodies: BodyCache
  readonly inflight: () => number
  readonly log: Logger
}

export interface Site extends Service {
  readonly config: ReproxyConfig
  readonly viaName: string
  /** Value of X-Proxy-Capabilities. */
  readonly capabilities: string
  readonly isTrusted: (address: string) => boolean
  /** True for addresses from which any number of connections may come. */
  readonly isUnlimited: (address: string) => boolean
  readonly metrics: Metrics
  readonly maps: MapCache
  readonly files: FileServices
  readonly nodes: Nodes
  /** The storage nodes that the trackers named last. */
  storageTargets(): AllowList
  readonly direct: Direct | undefined
  /** All pools of servers by name; the applications are called "apps". */
  readonly pools: ReadonlyMap<string, App>
  /** Who answers for a Host; undefined when nobody does. */
  appFor(host: string | undefined): App | undefined
  service(name: string): App | undefined
  /** Keeps the site open until the function it returns is called. */
  hold(): () => void
  /** Closes it as soon as nobody holds it. */
  retire(): void
}

/** Our name in Via for as long as the process lives, unless one is configured. */
const randomViaName = `omg-${randomBytes(8).toString('hex')}`

/** Creates a site, which may follow one with other settings. Throws ConfigError. */
export function createSite(config: ReproxyConfig, parts: SiteParts, before?: Site): Site {
  const { metrics, maps, bodies, inflight, log } = parts
  if (config.apps.length === 0 && !config.direct) {
    throw new ConfigError('--apps: is required: the application servers')
  }
  if (config.direct?.trackers.length === 0) throw new ConfigError('direct.trackers: is required')
  for (const root of config.fileRoots) {
    if (!isAbsolute(root)) {
      throw new ConfigError(`--file-roots: not an absolute path: ${JSON.stringify(root)}`)
    }
  }
  const allowList = parseAllowList('allow-targets', config.allowTargets)
  const trusted: BlockList = parseAddressList('trusted-proxies', config.trustedProxies)
  const anyTrusted = config.trustedProxies.length > 0 // looking into the list costs a microsecond
  const isTrusted = (address: string): boolean => anyTrusted && holdsAddress(trusted, address)
  const pool = new UpstreamPool({
    maxHeadBytes: config.maxHeaderBytes,
    // The other half is for what the client's socket has not taken yet.
    bufferBytes: Math.floor(config.bufferBytes / 2),
  })
  const pools = createPools(config, pool)
  const hosts = readHosts(config, pools)

  const agent = createTrackerAgent()
  const trackers = { trackers: trackerUrls(config.tracker), token: config.trackerToken, agent }
  // While the same trackers are away, what they said last goes on to hold.
  const same = before && String(before.config.tracker) === String(config.tracker)
  const known = same ? before.storageTargets() : new AllowList()
  const trackerTargets = createTrackerTargets({ ...trackers, known }, log)
  const { connectTimeoutMs, firstByteTimeoutMs, maxPerNode } = config
  const nodes = createNodes({
    pool,
    allowList,
    trackerTargets,
    connectTimeoutMs,
    firstByteTimeoutMs,
    maxPerNode,
    breaker: { failures: config.breakerFailures, openMs: config.breakerOpenMs },
  })
  const { maxAttempts, hedgeDelayMs, stallTimeoutMs, retryBudgetMin, retryBudgetRatio } = config
  const relay = {
    nodes,
    budget: new RetryBudget({ ratio: retryBudgetRatio, min: retryBudgetMin, inflight }),
    reports: createTrackerReports({ ...trackers, log }),
    metrics,
    maxAttempts,
    hedgeDelayMs,
    stallTimeoutMs,
  }
  const direct =
    config.direct &&
    createDirect(
      config.direct,
      createLocator({
        trackers: config.direct.trackers,
        token: config.direct.token ?? config.trackerToken,
        timeoutMs: firstByteTimeoutMs,
      }),
    )

  let holders = 0
  let retired = false
  let closing: Promise<void> | undefined
  async function close(): Promise<void> {
    for (const { backends } of pools.values()) backends.close()
    pool.close()
    const stopped = trackerTargets.close()
    await agent.destroy()
    await stopped
    await direct?.close()
  }
  const closeOnce = (): Promise<void> => (closing ??= close())

  return {
    config,
    viaName: config.viaName ?? randomViaName,
    capabilities: config.fileRoots.length > 0 ? 'reproxy-file, reproxy-url' : 'reproxy-url',
    isTrusted,
    isUnlimited(address) {
      const plain = plainAddress(address)
      return isLoopback(plain) || isTrusted(plain)
    },
    metrics,
    maps,
    nodes,
    storageTargets: () => trackerTargets.current(),
    direct,
    pools,
    files: {
      relay,
      bodies,
      fetches: createSharedFetches(bodies, relay, metrics),
      fileRoots: config.fileRoots,
      maxRanges: config.maxRanges,
      verifyReads: config.verifyReads,
    },
    appFor: host => hosts(host),
    service: name => (name === appsName ? undefined : pools.get(name)),
    start: () => trackerTargets.start(),
    close: closeOnce,
    hold() {
      holders++
      return () => {
        holders--
        if (retired && holders === 0) void closeOnce()
      }
    },
    retire() {
      retired = true
      if (holders === 0) void closeOnce()
    },
  }
}

/** How the pool of the applications themselves is called. */
const appsName = ''

function createPools(config: ReproxyConfig, pool: UpstreamPool): Map<string, App> {
  const create = (setting: string, addresses: readonly string[]): App => {
    const peers = addresses.map(address => parsePeer(setting, address))
    const { connectTimeoutMs, appTimeoutMs, maxPerApp } = config
    const { clientStallTimeoutMs, uploadStallTimeoutMs } = config
    return createApp({
      pool,
      backends: new Backends({ peers, maxPerPeer: maxPerApp, connectTimeoutMs }),
      connectTimeoutMs,
      appTimeoutMs,
      uploadStallMs: Math.min(clientStallTimeoutMs, uploadStallTimeoutMs),
    })
  }
  const pools = new Map<string, App>()
  if (config.apps.length > 0) pools.set(appsName, create('--apps', config.apps))
  for (const [name, addresses] of Object.entries(config.services)) {
    if (name === '') throw new ConfigError('services: a service has a name')
    if (addresses.length === 0) throw new ConfigError(`services.${name}: names no server`)
    pools.set(name, create(`services.${name}`, addresses))
  }
  return pools
}

/** Reads where a server listens. Throws ConfigError naming `setting`. */
function parsePeer(setting: string, text: string): Address {
  const peer = parseAddress(setting, text)
  if (peer.port === 0)
    throw new ConfigError(`${setting}: nobody listens on port 0: ${JSON.stringify(text)}`)
  return peer
}

/** Finds the pool that answers for a Host: its own, that of a name above it, or the applications. */
function readHosts(
  { virtualHosts }: ReproxyConfig,
  pools: ReadonlyMap<string, App>,
): (host: string | undefined) => App | undefined {
  const byName = new Map<string, App>()
  for (const [host, service] of Object.entries(virtualHosts)) {
    const app = pools.get(service)
    if (!app) throw new ConfigError(`virtualHosts.${host}: there is no service ${service}`)
    byName.set(host.toLowerCase(), app)
  }
  if (byName.size === 0) return () => pools.get(appsName)
  return host => {
    const name = (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
    const exact = byName.get(name)
    if (exact) return exact
    for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
      const above = byName.get(`*${name.slice(dot)}`)
      if (above) return above
    }
    return pools.get(appsName)
  }
}

function trackerUrls(urls: readonly string[]): string[] {
  return urls.map(url => {
    if (!/^https?:\/\/[^/?#@]+\/*$/.test(url) || !URL.canParse(url)) {
      throw new ConfigError(`--tracker: not the URL of a tracker: ${JSON.stringify(url)}`)
    }
    return url.replace(/\/+$/, '')
  })
}
