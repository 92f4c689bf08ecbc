import Type from 'typebox'
import { LogLevel } from '../common/log.ts'

/** What stands before a setting's name in the environment. */
export const envPrefix = 'OMG_TRACKER_'

/** Settings of a tracker. Cluster-wide settings live in the database, not here. */
export const TrackerConfig = Type.Object({
  databaseUrl: Type.String({
    description: 'Postgres, 15 or newer',
    minLength: 1,
    env: 'DATABASE_URL',
  }),
  httpListen: Type.String({
    description: 'HOST:PORT of the HTTP API',
    default: '127.0.0.1:7002',
  }),
  wireListen: Type.String({
    description:
      'HOST:PORT of the MogileFS line protocol, which has no authentication; several comma-separated',
    default: '127.0.0.1:7001',
  }),
  wireAllow: Type.String({
    description:
      'addresses that may use the line protocol: ADDRESS or ADDRESS/BITS, comma-separated',
    default: '',
  }),
  wireMaxConnections: Type.Integer({
    description: 'connections to the line protocol at once; more are closed unanswered',
    default: 4096,
    minimum: 1,
  }),
  wireMaxConnectionsPerAddress: Type.Integer({
    description: 'of them, those from one address',
    default: 1024,
    minimum: 1,
  }),
  noJobMaster: Type.Boolean({
    description: 'start with the jobs delete, fsck and replicate left to other trackers',
    default: false,
  }),
  plugins: Type.String({
    description: 'modules to load, by their paths from the working directory, comma-separated',
    default: '',
    env: 'OMG_PLUGINS',
  }),
  secret: Type.String({
    description: 'the cluster secret, 32 bytes or more, from which the keys of all nodes follow',
    secret: true,
  }),
  previousSecret: Type.Optional(
    Type.String({ description: 'the secret before, while it is being replaced', secret: true }),
  ),
  adminToken: Type.Optional(
    Type.String({
      description: 'an admin token to make sure of at the start, 32 bytes or more',
      secret: true,
    }),
  ),
  sidePort: Type.Optional(
    Type.Integer({
      description:
        "port of all storage nodes' side channels; without it one above each node's own port",
      minimum: 1,
      maximum: 65_535,
    }),
  ),
  open: Type.Boolean({
    description: 'all nodes take unsigned requests: use plain URLs, as MogileFS does',
    default: false,
  }),
  logLevel: LogLevel,
})
export type TrackerConfig = Type.Static<typeof TrackerConfig>
