/** The settings of a storage node. */
import { hostname } from 'node:os'
import Type from 'typebox'
import { LogLevel } from '../common/log.ts'
import {
  checkSecret,
  ConfigError,
  isLoopback,
  parseAddress,
  type Address,
} from '../common/config.ts'
import { parseAllowList } from './allow-list.ts'

/** What stands before a setting's name in the environment. */
export const envPrefix = 'OMG_STORAGE_NODE_'

const secretOption = { secret: true }

export const StorageNodeConfig = Type.Object({
  listen: Type.String({
    default: '127.0.0.1:7500',
    description: 'HOST:PORT to serve on; port 0 takes a free one',
  }),
  sideListen: Type.Optional(
    Type.String({
      description: 'HOST:PORT of the side channel, or off; one port above --listen',
    }),
  ),
  sideAllow: Type.Optional(
    Type.String({
      default: '',
      description:
        'who may use the side channel, ADDRESS or NETWORK/BITS, separated by commas; loopback, with --open everybody',
    }),
  ),
  root: Type.String({
    default: '/var/omgfiles',
    minLength: 1,
    description: 'directory that holds one directory or mount point dev<N> per device',
  }),
  name: Type.String({
    default: hostname(),
    minLength: 1,
    description: 'name of this host as it is registered at the tracker',
  }),
  secret: Type.Optional(
    Type.String({ ...secretOption, description: "file with this host's secret, mode 600" }),
  ),
  previousSecret: Type.Optional(
    Type.String({ ...secretOption, description: 'file with a secret that is still taken as well' }),
  ),
  open: Type.Boolean({ default: false, description: 'take unsigned requests as well' }),
  sources: Type.Optional(
    Type.String({
      default: '',
      description: 'HOST:PORT of nodes that unsigned copies may come from, separated by commas',
    }),
  ),
  fsync: Type.Optional(
    Type.Union([Type.Literal('on'), Type.Literal('off')], {
      default: 'on',
      description: 'on, or off for data that may be lost: nothing is flushed',
    }),
  ),
  failedRetrySeconds: Type.Optional(
    Type.Number({
      default: 15,
      minimum: 0.01,
      maximum: 3600,
      description:
        'seconds until a disk that failed is first tried again; the pauses double, to 20 times that',
    }),
  ),
  cors: Type.Optional(
    Type.Union([Type.Literal('signed'), Type.Literal('all'), Type.Literal('off')], {
      default: 'signed',
      description: 'what web pages of any origin may ask for: signed URLs, all, or off',
    }),
  ),
  workers: Type.Optional(
    Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 64,
      description: 'processes that serve; 1 is this one alone',
    }),
  ),
  logLevel: LogLevel,
})
export type StorageNodeConfig = Type.Static<typeof StorageNodeConfig>

/** Throws ConfigError when the settings, each fine by itself, do not go together. */
export function checkConfig(config: StorageNodeConfig): void {
  const { host } = parseAddress('--listen', config.listen)
  sideAddress(config)
  parseAllowList('--side-allow', config.sideAllow ?? '')
  sourceList(config)
  if (config.secret !== undefined) checkSecret('--secret-file', config.secret)
  if (config.previousSecret !== undefined) {
    checkSecret('--previous-secret-file', config.previousSecret)
    if (config.secret === undefined) {
      throw new ConfigError('--previous-secret-file: needs --secret-file beside it')
    }
  }
  if (config.secret !== undefined || config.open) return
  const where = isLoopback(host) ? 'anyone on this machine' : 'anyone who reaches this address'
  throw new ConfigError(
    `--secret-file or --open: without a secret ${where} could write; --open says that it is meant`,
  )
}

/** Where the side channel listens; undefined where it does not. Throws ConfigError. */
export function sideAddress({ listen, sideListen }: StorageNodeConfig): Address | undefined {
  if (sideListen === 'off') return undefined
  if (sideListen !== undefined) return parseAddress('--side-listen', sideListen)
  const { host, port } = parseAddress('--listen', listen)
  // A free port has no neighbour that is known to be free.
  return { host, port: port === 0 || port === 65_535 ? 0 : port + 1 }
}

/** `HOST:PORT` of the nodes that unsigned copies may come from. Throws ConfigError. */
export function sourceList({ sources }: StorageNodeConfig): ReadonlySet<string> {
  const names = (sources ?? '').split(',').filter(name => name !== '')
  for (const name of names) parseAddress('--sources', name)
  return new Set(names)
}
