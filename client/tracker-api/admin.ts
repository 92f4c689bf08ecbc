/** The routes of the tracker's HTTP API for configuration, as functions. */
import type { CodedError } from '../../common/errors.ts'
import type {
  ChangeClass,
  ChangeDevice,
  ChangeDomain,
  ChangeHost,
  ClassInfo,
  CreatedToken,
  DeviceInfo,
  DomainInfo,
  HostInfo,
  HostKey,
  NewClass,
  NewDevice,
  NewHost,
  NewToken,
  Settings,
  TokenInfo,
} from '../../common/protocol/configuration.ts'
import type { Consequences, Rehearsal } from '../../common/protocol/rehearsal.ts'
import type { ClusterStatus, StorageTargets } from '../../common/protocol/status.ts'
import { domainPath, segment, type CallOptions, type ClassRef } from './names.ts'
import type { TrackerPool } from './pool.ts'

/** The configuration of the cluster. All calls except `targets` need a token of scope `admin`. */
export interface AdminApi {
  /** Hosts, devices and queues, as this tracker sees them. */
  status(options?: CallOptions): Promise<ClusterStatus>
  /** All domains with their classes, in order of their names. */
  listDomains(options?: CallOptions): Promise<DomainInfo[]>
  /** Throws domain_exists. */
  createDomain(name: string, options?: CallOptions): Promise<DomainInfo>
  /** Sets how long deleted files can be restored (0: not at all). Throws domain_not_found. */
  changeDomain(name: string, change: ChangeDomain, options?: CallOptions): Promise<DomainInfo>
  /** Throws domain_not_found, domain_has_files or domain_has_classes. */
  deleteDomain(name: string, options?: CallOptions): Promise<void>
  /** Throws domain_not_found. */
  listClasses(domain: string, options?: CallOptions): Promise<ClassInfo[]>
  /** Throws domain_not_found, class_exists or invalid_replpolicy. */
  createClass(domain: string, fields: NewClass, options?: CallOptions): Promise<ClassInfo>
  /** Fields that are absent stay. Throws domain_not_found, class_not_found or invalid_replpolicy. */
  changeClass(ref: ClassRef, change: ChangeClass, options?: CallOptions): Promise<ClassInfo>
  /** Throws domain_not_found, class_not_found, class_has_files or nodel_default_class. */
  deleteClass(ref: ClassRef, options?: CallOptions): Promise<void>
  /** All hosts, in order of their numbers. */
  listHosts(options?: CallOptions): Promise<HostInfo[]>
  /** Throws host_exists, bad_params, or dup when another host has its address. */
  createHost(fields: NewHost, options?: CallOptions): Promise<HostInfo>
  /** Fields that are absent stay, `null` clears. Throws host_not_found, bad_params or dup. */
  changeHost(name: string, change: ChangeHost, options?: CallOptions): Promise<HostInfo>
  /** Throws unknown_host or host_not_empty. */
  deleteHost(name: string, options?: CallOptions): Promise<void>
  /** The secret that this host's storage node is started with. */
  hostKey(name: string, options?: CallOptions): Promise<HostKey>
  /** All devices, also dead ones, in order of their numbers. */
  listDevices(options?: CallOptions): Promise<DeviceInfo[]>
  /** Throws unknown_host, invalid_devid or existing_devid. */
  createDevice(fields: NewDevice, options?: CallOptions): Promise<DeviceInfo>
  /** Fields that are absent stay. Throws no_device, or state_too_high for dead to alive. */
  changeDevice(devid: number, change: ChangeDevice, options?: CallOptions): Promise<DeviceInfo>
  /** The settings that were changed, by name. */
  listSettings(options?: CallOptions): Promise<Settings>
  /** Throws not_writable when there is no such setting, invalid_format when it cannot have this value. */
  putSetting(name: string, value: string, options?: CallOptions): Promise<void>
  /** Resets a setting to its default. Throws not_writable. */
  deleteSetting(name: string, options?: CallOptions): Promise<void>
  /** All tokens, without their texts. */
  listTokens(options?: CallOptions): Promise<TokenInfo[]>
  /**
   * Only this answer ever holds the text of the token. Throws token_exists, unreg_domain or bad_request.
   */
  createToken(fields: NewToken, options?: CallOptions): Promise<CreatedToken>
  /** Throws token_not_found. */
  deleteToken(id: number, options?: CallOptions): Promise<void>
  /** What a change would cost. Changes nothing; throws what the change itself would throw. */
  rehearse(change: Rehearsal, options?: CallOptions): Promise<Consequences>
  /** The addresses of the storage nodes, for reading. */
  targets(options?: CallOptions): Promise<StorageTargets>
}

/** When the answer to an earlier try was lost, 404 means that this try has removed it. */
function goneIsDone(refusal: CodedError): void {
  if (refusal.statusCode !== 404) throw refusal
}

/** Creates the functions over a pool. */
export function createAdminApi({ request }: TrackerPool): AdminApi {
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
    changeDomain: (name, body, options) => request('PATCH', domainPath(name), { body, ...options }),
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
    rehearse: (body, options) =>
      request('POST', '/v1/rehearsals', { body, idempotent: true, ...options }),
    targets: options => request('GET', '/v1/targets', options),
  }
}
