/** Signed URLs of replicas, and the keys that nodes sign their receipts with. */
import { formatAddress } from '../../common/config.ts'
import { fidPath, type Replica } from '../../common/layout.ts'
import { hostKeys, hostSecret, signGrant, type Grant, type HostKeys } from '../../common/signing.ts'
import type { HostRow } from '../store/hosts.ts'
import { parseNetmask, type Netmask } from './netmask.ts'
import type { ClusterState } from './state.ts'

export interface UrlOptions {
  readonly method: Grant['method']
  /** How long the URL works. */
  readonly seconds: number
  /** Use the second address of hosts that have one. */
  readonly alternative?: boolean
  /** Read where files are written, and not at the host's port for reading. */
  readonly whereWritten?: boolean
  /** Address of who will use the URL: without `alternative`, a host's altmask decides on it. */
  readonly reader?: string
  /** For a client of the HTTP API: signed in any case, so that a web page may use it. */
  readonly forClient?: boolean
}

export interface ReplicaUrls {
  /**
   * The URL of a replica, signed; undefined when the device or its host is not configured. Where nodes
   * are open only those for PUT are, which have a node of ours refuse other bytes.
   */
  replica(replica: Replica, options: UrlOptions): string | undefined
  /** The URL at which a node is told to copy a replica from `source`, `HOST:PORT` of another. */
  copy(replica: Replica, source: string, options: { readonly seconds: number }): string | undefined
  /** Where a device takes several copies or deletions at once, signed; undefined as in `replica`. */
  several(
    devid: number,
    what: 'copies' | 'deletions',
    options: { readonly seconds: number },
  ): string | undefined
  /** The same as `replica` without a signature, as MogileFS writes it. */
  plain(replica: Replica, options: Omit<UrlOptions, 'seconds'>): string | undefined
  /** The URL of something else below a device (`usage`), signed unless nodes are open. */
  object(host: HostRow, object: { devid: number; name: string }, options: UrlOptions): string
  /** The keys under which a device's node signs, newest first. */
  keysOf(host: HostRow): readonly HostKeys[]
  /** What the operator of the node called `name` gives it as its secret. */
  secretOf(name: string): string
}

export interface ReplicaUrlsOptions {
  /** The cluster's, newest first. */
  readonly secrets: readonly [string, ...string[]]
  /**
   * Nodes take unsigned requests. Some of them may be MogileFS's own: Perlbal takes what follows the
   * `?` for a part of a file's name, and refuses it.
   */
  readonly open: boolean
}

/** Creates the signer. */
export function createReplicaUrls(
  cluster: ClusterState,
  { secrets, open }: ReplicaUrlsOptions,
): ReplicaUrls {
  const keys = new Map<string, readonly [HostKeys, ...HostKeys[]]>()
  const keysOf = ({ name }: HostRow): readonly [HostKeys, ...HostKeys[]] => {
    let found = keys.get(name)
    if (!found) {
      const [newest, ...older] = secrets
      const of = (secret: string): HostKeys => hostKeys(hostSecret(secret, name))
      found = [of(newest), ...older.map(of)]
      keys.set(name, found)
    }
    return found
  }
  const hostOf = (devid: number): HostRow | undefined => {
    const device = cluster.snapshot.devices.get(devid)
    return device && cluster.snapshot.hosts.get(device.hostId)
  }
  const masks = new Map<string, Netmask | undefined>()
  const covers = (altmask: string, reader: string | undefined): boolean => {
    if (reader === undefined) return false
    if (!masks.has(altmask)) masks.set(altmask, parseNetmask(altmask))
    return masks.get(altmask)?.(reader) ?? false
  }
  const ipOf = (
    { ip, altip, altmask }: HostRow,
    { alternative, reader }: Pick<UrlOptions, 'alternative' | 'reader'>,
  ): string => (altip && altmask && (alternative || covers(altmask, reader)) ? altip : ip)
  const origin = (host: HostRow, options: Omit<UrlOptions, 'seconds'>): string => {
    const reads = options.method === 'GET' && !options.whereWritten
    const port = reads ? (host.getPort ?? host.port) : host.port
    const ip = ipOf(host, options)
    return `http://${formatAddress({ host: ip, port })}`
  }
  const sign = (host: HostRow, grant: Grant, seconds: number): string =>
    signGrant(keysOf(host)[0], grant, Math.floor(Date.now() / 1000) + Math.ceil(seconds))

  return {
    replica({ devid, fid }, options) {
      const host = hostOf(devid)
      if (!host) return undefined
      const url = `${origin(host, options)}/dev${devid}/${fidPath(fid)}`
      if (open && options.method !== 'PUT' && !options.forClient) return url
      const grant = { method: options.method, devid, object: String(fid) }
      return `${url}?${sign(host, grant, options.seconds)}`
    },
    copy({ devid, fid }, source, { seconds }) {
      const host = hostOf(devid)
      if (!host) return undefined
      const grant = { method: 'COPY', devid, object: `${fid}@${source}` } as const
      const token = sign(host, grant, seconds)
      return `${origin(host, { method: 'PUT' })}/dev${devid}/${fidPath(fid)}?${token}`
    },
    several(devid, what, { seconds }) {
      const host = hostOf(devid)
      if (!host) return undefined
      const method = what === 'copies' ? 'COPY' : 'DELETE'
      const token = sign(host, { method, devid, object: what }, seconds)
      return `${origin(host, { method: 'PUT' })}/dev${devid}/${what}?${token}`
    },
    plain({ devid, fid }, options) {
      const host = hostOf(devid)
      return host && `${origin(host, options)}/dev${devid}/${fidPath(fid)}`
    },
    object(host, { devid, name }, options) {
      const url = `${origin(host, options)}/dev${devid}/${name}`
      if (open) return url
      return `${url}?${sign(host, { method: options.method, devid, object: name }, options.seconds)}`
    },
    keysOf,
    secretOf: name => hostSecret(secrets[0], name),
  }
}
