/**
 * The tracker's HTTP API as functions: one per route, with the types of `common/protocol.ts` (times
 * are ISO 8601 texts here). Each throws the tracker's own code, or tracker_unreachable when none of
 * the trackers answered. What is retried, and why that is safe, is in `tracker-pool.ts`.
 */
import { isCoded, type CodedError } from '../common/errors.ts'
import { checkKey, encodeKey, keyToJson } from '../common/keys.ts'
import type {
  ChangeClass,
  ChangeDevice,
  ChangeFile,
  ChangeHost,
  ClassInfo,
  ClusterStatus,
  CommitUpload,
  Committed,
  CreatedToken,
  DeviceInfo,
  DomainInfo,
  FileInfo,
  FileList,
  HostInfo,
  HostKey,
  Located,
  NewClass,
  NewDevice,
  NewHost,
  NewToken,
  OpenedUpload,
  OpenUpload,
  Settings,
  StorageTargets,
  TokenInfo,
} from '../common/protocol.ts'
import { createTrackerPool, type TrackerPool, type TrackerPoolOptions } from './tracker-pool.ts'

export type TrackerApiOptions = TrackerPoolOptions

/** A file's name: text is its UTF-8 bytes. 1 to 1,024 bytes. */
export type Key = string | Uint8Array

/** Names one file. */
export interface FileRef {
  readonly domain: string
  readonly key: Key
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface ListQuery {
  readonly prefix?: Key | undefined
  /** Keys after this one; exclusive. */
  readonly after?: Key | undefined
  readonly delimiter?: string | undefined
  /** Entries of this page, 1 to 1000. */
  readonly limit?: number | undefined
}

export interface TrackerApi extends Pick<TrackerPool, 'request' | 'close'>, FileApi, AdminApi {}

/** What is asked about files. Keys are checked here: no_key, key_too_long. */
export interface FileApi {
  stat(file: FileRef, options?: CallOptions): Promise<FileInfo>
  locate(file: FileRef, options?: CallOptions): Promise<Located>
  /** One page. `next` of the answer is percent-encoded: `decodeKey` makes it the next `after`. */
  list(domain: string, query?: ListQuery, options?: CallOptions): Promise<FileList>
  change(file: FileRef, change: ChangeFile, options?: CallOptions): Promise<FileInfo>
  /** Throws unknown_key, unless an earlier try of this very call may have deleted it. */
  remove(file: FileRef, options?: CallOptions): Promise<void>
  /** Throws unknown_key or key_exists, unless an earlier try of this very call has renamed it. */
  rename(file: FileRef, to: Key, options?: CallOptions): Promise<FileInfo>
  openUpload(
    file: FileRef,
    upload: Omit<OpenUpload, 'key' | 'keyBytes'>,
    options?: CallOptions,
  ): Promise<OpenedUpload>
  /** Asking again answers the same. With `makeCopies` the answer waits for copies of `size` bytes. */
  commitUpload(
    ref: { domain: string; upload: string },
    commit: CommitUpload,
    options?: CallOptions,
  ): Promise<Committed>
  /** Gives an upload up. One that is gone already is no error. */
  abandonUpload(ref: { domain: string; upload: string }, options?: CallOptions): Promise<void>
}

/** What needs a token of scope `admin`, except `targets`. */
export interface AdminApi {
  status(options?: CallOptions): Promise<ClusterStatus>
  listDomains(options?: CallOptions): Promise<DomainInfo[]>
  createDomain(name: string, options?: CallOptions): Promise<DomainInfo>
  deleteDomain(name: string, options?: CallOptions): Promise<void>
  listClasses(domain: string, options?: CallOptions): Promise<ClassInfo[]>
  createClass(domain: string, fields: NewClass, options?: CallOptions): Promise<ClassInfo>
  changeClass(ref: ClassRef, change: ChangeClass, options?: CallOptions): Promise<ClassInfo>
  deleteClass(ref: ClassRef, options?: CallOptions): Promise<void>
  listHosts(options?: CallOptions): Promise<HostInfo[]>
  createHost(fields: NewHost, options?: CallOptions): Promise<HostInfo>
  changeHost(name: string, change: ChangeHost, options?: CallOptions): Promise<HostInfo>
  deleteHost(name: string, options?: CallOptions): Promise<void>
  /** The secret that this host's storage node is started with. */
  hostKey(name: string, options?: CallOptions): Promise<HostKey>
  listDevices(options?: CallOptions): Promise<DeviceInfo[]>
  createDevice(fields: NewDevice, options?: CallOptions): Promise<DeviceInfo>
  changeDevice(devid: number, change: ChangeDevice, options?: CallOptions): Promise<DeviceInfo>
  listSettings(options?: CallOptions): Promise<Settings>
  putSetting(name: string, value: string, options?: CallOptions): Promise<void>
  deleteSetting(name: string, options?: CallOptions): Promise<void>
  listTokens(options?: CallOptions): Promise<TokenInfo[]>
  /** The only answer that ever holds the token's text. */
  createToken(fields: NewToken, options?: CallOptions): Promise<CreatedToken>
  deleteToken(id: number, options?: CallOptions): Promise<void>
  /** Where storage nodes may be read. */
  targets(options?: CallOptions): Promise<StorageTargets>
}

export interface ClassRef {
  readonly domain: string
  readonly name: string
}

/** Bytes a second at which the tracker is trusted to have a copy made between nodes, at least. */
const copyRate = 4 * 1024 * 1024

/** Creates the API over these trackers; opens no connection yet. Throws bad_args. */
export function createTrackerApi(options: TrackerApiOptions): TrackerApi {
  const pool = createTrackerPool(options)
  return {
    request: pool.request,
    close: pool.close,
    ...createFileApi(pool),
    ...createAdminApi(pool),
  }
}

const segment = encodeURIComponent
const domainPath = (domain: string): string => `/v1/domains/${segment(domain)}`

function keyQuery(key: Key): { key: string } {
  checkKey(bytesOf(key))
  return { key: encodeKey(key) }
}

const bytesOf = (key: Key): Uint8Array => (typeof key === 'string' ? Buffer.from(key) : key)

/** After a lost answer "no such thing" means that the earlier try removed it. */
function goneIsDone(refusal: CodedError): void {
  if (refusal.statusCode !== 404) throw refusal
}

function createFileApi({ request }: TrackerPool): FileApi {
  // The key travels in the query: URL parsers fold `.` and `..` in a path.
  const filePath = (domain: string): string => `${domainPath(domain)}/files/`
  const uploadPath = ({ domain, upload }: { domain: string; upload: string }): string =>
    `${domainPath(domain)}/uploads/${segment(upload)}`

  const api: FileApi = {
    stat: async ({ domain, key }, options) =>
      await request('GET', filePath(domain), { query: keyQuery(key), ...options }),

    locate: async ({ domain, key }, options) =>
      await request('GET', `${domainPath(domain)}/locations`, { query: keyQuery(key), ...options }),

    list(domain, { prefix, after, delimiter, limit } = {}, options) {
      const query = {
        prefix: prefix === undefined ? undefined : encodeKey(prefix),
        after: after === undefined ? undefined : encodeKey(after),
        delimiter: delimiter === undefined ? undefined : segment(delimiter),
        limit: limit === undefined ? undefined : String(limit),
      }
      return request('GET', `${domainPath(domain)}/files`, { query, ...options })
    },

    change: async ({ domain, key }, body, options) =>
      await request('PATCH', filePath(domain), { query: keyQuery(key), body, ...options }),

    remove: async ({ domain, key }, options) =>
      await request('DELETE', filePath(domain), {
        query: keyQuery(key),
        inDoubt(refusal) {
          if (refusal.code !== 'unknown_key') throw refusal
        },
        ...options,
      }),

    async rename({ domain, key }, to, options) {
      checkKey(bytesOf(to))
      // Known beforehand, it tells after a lost answer whether it is this file that now lies there.
      const { fid } = await api.stat({ domain, key }, options)
      const source = keyToJson(bytesOf(key))
      const target = keyToJson(bytesOf(to))
      const body = {
        from: source.key,
        ...(source.keyBytes !== undefined && { fromBytes: source.keyBytes }),
        to: target.key,
        ...(target.keyBytes !== undefined && { toBytes: target.keyBytes }),
      }
      return request<FileInfo>('POST', `${domainPath(domain)}/rename`, {
        body,
        idempotent: true,
        async inDoubt(refusal) {
          const { code } = refusal
          if (code !== 'unknown_key' && code !== 'key_exists') throw refusal
          const there = await api.stat({ domain, key: to }, options).catch((err: unknown) => {
            throw isCoded(err, 'unknown_key') ? refusal : err
          })
          if (there.fid !== fid) throw refusal
          return there
        },
        ...options,
      })
    },

    async openUpload({ domain, key }, upload, options) {
      checkKey(bytesOf(key))
      const body = { ...keyToJson(bytesOf(key)), ...upload }
      // Opened twice, the first one expires.
      return request('POST', `${domainPath(domain)}/uploads`, {
        body,
        idempotent: true,
        ...options,
      })
    },

    commitUpload(ref, body, options) {
      const extraMs = body.makeCopies ? 20_000 + ((body.size ?? 0) / copyRate) * 1000 : 0
      const path = `${uploadPath(ref)}/commit`
      return request('POST', path, { body, idempotent: true, extraMs, ...options })
    },

    abandonUpload: (ref, options) =>
      request<void>('DELETE', uploadPath(ref), options).catch((err: unknown) => {
        if (!isCoded(err, 'no_upload')) throw err
      }),
  }
  return api
}

function createAdminApi({ request }: TrackerPool): AdminApi {
  const classPath = ({ domain, name }: ClassRef): string =>
    `${domainPath(domain)}/classes/${segment(name)}`
  const hostPath = (name: string): string => `/v1/hosts/${segment(name)}`
  const settingPath = (name: string): string => `/v1/settings/${segment(name)}`
  const remove = (path: string, options?: CallOptions): Promise<void> =>
    request('DELETE', path, { inDoubt: goneIsDone, ...options })

  return {
    status: options => request('GET', '/v1/status', options),
    listDomains: options => request('GET', '/v1/domains', options),
    createDomain: (name, options) => request('POST', '/v1/domains', { body: { name }, ...options }),
    deleteDomain: (name, options) => remove(domainPath(name), options),
    listClasses: (domain, options) => request('GET', `${domainPath(domain)}/classes`, options),
    createClass: (domain, body, options) =>
      request('POST', `${domainPath(domain)}/classes`, { body, ...options }),
    changeClass: (ref, body, options) => request('PATCH', classPath(ref), { body, ...options }),
    deleteClass: (ref, options) => remove(classPath(ref), options),
    listHosts: options => request('GET', '/v1/hosts', options),
    createHost: (body, options) => request('POST', '/v1/hosts', { body, ...options }),
    changeHost: (name, body, options) => request('PATCH', hostPath(name), { body, ...options }),
    deleteHost: (name, options) => remove(hostPath(name), options),
    hostKey: (name, options) => request('GET', `${hostPath(name)}/key`, options),
    listDevices: options => request('GET', '/v1/devices', options),
    createDevice: (body, options) => request('POST', '/v1/devices', { body, ...options }),
    changeDevice: (devid, body, options) =>
      request('PATCH', `/v1/devices/${devid}`, { body, ...options }),
    listSettings: options => request('GET', '/v1/settings', options),
    putSetting: (name, value, options) =>
      request('PUT', settingPath(name), { body: { value }, ...options }),
    deleteSetting: (name, options) => remove(settingPath(name), options),
    listTokens: options => request('GET', '/v1/tokens', options),
    createToken: (body, options) => request('POST', '/v1/tokens', { body, ...options }),
    deleteToken: (id, options) => remove(`/v1/tokens/${id}`, options),
    targets: options => request('GET', '/v1/targets', options),
  }
}
