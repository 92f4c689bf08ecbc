/** Where a file is, asked of the trackers in turn, over either of their protocols. */
import { createTrackerApi, type TrackerApi } from '../../client/tracker-api/index.ts'
import { ConfigError, parseAddress } from '../../common/config.ts'
import { isCoded } from '../../common/errors.ts'
import { replicaOf } from '../../client/replica-reports.ts'
import { createLineTracker, TrackerRefusal, type LineTracker } from './line-tracker.ts'

export interface FileName {
  readonly domain: string
  /** Any bytes. */
  readonly key: Buffer
}

export interface Location {
  readonly urls: readonly string[]
  readonly fid: number | undefined
  /** These are known to the HTTP API only. */
  readonly size?: number
  /** Lower-case hex. */
  readonly sha256?: string | undefined
  readonly class?: string
  readonly contentType?: string | undefined
  readonly metadata?: Readonly<Record<string, string>>
}

/** `unknown`: no such key or domain. `unavailable`: no tracker has answered. */
export type Located = Location | 'unknown' | 'unavailable'

export interface Locator {
  locate(file: FileName, signal: AbortSignal): Promise<Located>
  close(): Promise<void>
}

export interface LocatorOptions {
  /** HOST:PORT of line protocols, or URLs of HTTP APIs. */
  readonly trackers: readonly string[]
  readonly token: string | undefined
  /** For each of them. */
  readonly timeoutMs: number
}

type Ask = (file: FileName, signal: AbortSignal) => Promise<Location>

/** Refusals that mean that there is no such file, as far as a stranger may know. */
const unknownCodes: ReadonlySet<string> = new Set([
  'unknown_key',
  'unreg_domain',
  'domain_not_found',
  'no_domain',
  'no_key',
  'key_too_long',
  'bad_key',
  'bad_request',
  'forbidden',
  'not_found',
])

/** Creates what asks. Throws ConfigError. */
export function createLocator({ trackers, token, timeoutMs }: LocatorOptions): Locator {
  const apis: TrackerApi[] = []
  const lines: LineTracker[] = []
  const asks = trackers.map((tracker): Ask => {
    if (/^https?:\/\//i.test(tracker)) {
      if (!URL.canParse(tracker)) {
        throw new ConfigError(`direct.trackers: not a URL: ${JSON.stringify(tracker)}`)
      }
      const api = createTrackerApi({ trackers: [tracker], token: token ?? '' })
      apis.push(api)
      return (file, signal) => askApi(api, file, signal, timeoutMs)
    }
    const line = createLineTracker(parseAddress('direct.trackers', tracker))
    lines.push(line)
    return file => askLine(line, file, timeoutMs)
  })

  return {
    async locate(file, signal) {
      for (const ask of asks) {
        try {
          return await ask(file, signal)
        } catch (err) {
          if (signal.aborted) return 'unavailable'
          const refusal = err instanceof TrackerRefusal || isCoded(err) ? err.code : undefined
          if (refusal !== undefined && unknownCodes.has(refusal)) return 'unknown'
          if (refusal === 'no_replica' || refusal === 'no_devices')
            return { urls: [], fid: undefined }
        }
      }
      return 'unavailable'
    },
    async close() {
      for (const line of lines) line.close()
      await Promise.all(apis.map(api => api.close()))
    },
  }
}

async function askLine(
  tracker: LineTracker,
  { domain, key }: FileName,
  timeoutMs: number,
): Promise<Location> {
  const args = { domain, key, noverify: '1', pathcount: '6' }
  const answer = await tracker.ask('get_paths', args, timeoutMs)
  const count = Math.min(Number(answer.get('paths') ?? 0) || 0, 100)
  const urls = Array.from({ length: count }, (_, i) => answer.get(`path${i + 1}`) ?? '')
  return { urls, fid: fidOf(urls) }
}

async function askApi(
  api: TrackerApi,
  file: FileName,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<Location> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  const found = await api.locate(file, { signal: patience })
  const { urls, fid, size, sha256, contentType, metadata } = found
  return { urls, fid, size, sha256, class: found.class, contentType, metadata }
}

function fidOf([first = '']: readonly string[]): number | undefined {
  return replicaOf(first)?.fid
}
