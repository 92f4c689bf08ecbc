/** The reproxy's settings. */
import Type from 'typebox'
import { LogLevel } from '../common/log.ts'

/** What stands before a setting's name in the environment. */
export const envPrefix = 'OMG_REPROXY_'

const milliseconds = (fallback: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1, default: fallback, description })

const limit = (fallback: number, description: string) =>
  Type.Integer({ minimum: 1, default: fallback, description })

export const ReproxyConfig = Type.Object({
  listen: Type.String({
    default: '127.0.0.1:8080',
    description: 'where clients connect, HOST:PORT',
  }),
  app: Type.String({ description: 'the application server, HOST:PORT' }),
  allowTargets: Type.String({
    default: '',
    description: 'storage nodes that may be contacted: HOST:PORT or CIDR:PORT, by comma',
  }),
  tracker: Type.String({
    default: '',
    description: 'HTTP APIs of trackers, whose storage nodes may be contacted too; URLs, by comma',
  }),
  trackerToken: Type.Optional(
    Type.String({ secret: true, description: 'API token for the trackers' }),
  ),
  trustedProxies: Type.String({
    default: '',
    description: 'proxies whose forwarding fields are believed: addresses or CIDRs, by comma',
  }),
  viaName: Type.Optional(
    Type.String({
      pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$",
      description: 'our name in Via; random when absent',
    }),
  ),
  connectTimeoutMs: milliseconds(1000, 'to connect to the application or a node'),
  firstByteTimeoutMs: milliseconds(5000, "from the request to a node's complete head"),
  stallTimeoutMs: milliseconds(10_000, "between two bytes of a node's body"),
  appTimeoutMs: milliseconds(60_000, "from the request to the application's complete head"),
  requestHeadTimeoutMs: milliseconds(10_000, 'for a request head to be complete'),
  keepAliveIdleMs: milliseconds(30_000, 'a client connection may wait for its next request'),
  clientStallTimeoutMs: milliseconds(60_000, 'a client may take, or within its body send, nothing'),
  drainTimeoutMs: milliseconds(30_000, 'for requests in progress when closing'),
  maxAttempts: limit(6, 'requests to nodes for one client request'),
  maxInflight: limit(10_000, 'client requests in progress; more get 503'),
  bufferBytes: Type.Integer({
    minimum: 16_384,
    default: 262_144,
    description: 'bytes buffered per client',
  }),
  maxHeaderBytes: Type.Integer({
    minimum: 1024,
    maximum: 1_048_576,
    default: 32_768,
    description: 'longest head of a request or response',
  }),
  maxTargetBytes: Type.Integer({
    minimum: 256,
    maximum: 1_048_576,
    default: 8192,
    description: 'longest request target',
  }),
  logLevel: LogLevel,
})
export type ReproxyConfig = Type.Static<typeof ReproxyConfig>
