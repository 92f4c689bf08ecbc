/** The settings of a storage node. */
import { hostname } from 'node:os'
import Type from 'typebox'
import { LogLevel } from '../common/log.ts'
import { checkSecret, ConfigError, isLoopback, parseAddress } from '../common/config.ts'

/** What stands before a setting's name in the environment. */
export const envPrefix = 'OMG_STORAGE_NODE_'

const secretOption = { secret: true }

export const StorageNodeConfig = Type.Object({
  listen: Type.String({
    default: '127.0.0.1:7500',
    description: 'HOST:PORT to serve on; port 0 takes a free one',
  }),
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
  logLevel: LogLevel,
})
export type StorageNodeConfig = Type.Static<typeof StorageNodeConfig>

/** Throws ConfigError when the settings, each fine by itself, do not go together. */
export function checkConfig(config: StorageNodeConfig): void {
  const { host } = parseAddress('--listen', config.listen)
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
