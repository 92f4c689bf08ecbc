/** The reproxy's settings, as its configuration file has them. */
import Type from 'typebox'
import { LogLevel } from '../../common/log.ts'

const closed = { additionalProperties: false } as const

const milliseconds = (fallback: number, description: string, minimum = 1) =>
  Type.Integer({ minimum, maximum: 2 ** 31 - 1, default: fallback, description })

const limit = (fallback: number, description: string, minimum = 1) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, default: fallback, description })

const list = (description: string) => Type.Array(Type.String(), { default: [], description })

const Tls = Type.Object(
  {
    listen: Type.String({ description: 'where clients connect by TLS, HOST:PORT' }),
    certFile: Type.String({ description: 'PEM: the certificate and its chain' }),
    keyFile: Type.String({ description: 'PEM: its key' }),
  },
  closed,
)
export type TlsConfig = Type.Static<typeof Tls>

const Direct = Type.Object(
  {
    prefix: Type.String({
      pattern: '^/[\\x21\\x22\\x24-\\x3e\\x40-\\x7e]*$',
      description: 'what the paths begin with',
    }),
    trackers: list('HOST:PORT of line protocols, or URLs of HTTP APIs'),
    token: Type.Optional(Type.String({ description: 'API token for trackers named by URL' })),
    signSecret: Type.Optional(
      Type.String({ minLength: 1, description: 'key of the signatures in URLs' }),
    ),
    publicDomains: list('domains that need no signature'),
    cacheControl: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: 'Cache-Control by class; "*" for all others',
    }),
  },
  closed,
)
export type DirectConfig = Type.Static<typeof Direct>

export const ReproxyConfig = Type.Object(
  {
    listen: Type.String({
      default: '127.0.0.1:8080',
      description: 'where clients connect, HOST:PORT, or fd:N for an inherited socket',
    }),
    adminListen: Type.Optional(
      Type.String({ description: 'where /healthz, /readyz, /metrics and / (status) answer' }),
    ),
    apps: list('the application servers, HOST:PORT'),
    services: Type.Record(Type.String({ minLength: 1 }), list('HOST:PORT'), {
      default: {},
      description: 'other pools of servers, by name',
    }),
    virtualHosts: Type.Record(Type.String({ minLength: 1 }), Type.String(), {
      default: {},
      description: 'name of the service by Host; "*.example.org" for all below',
    }),
    allowTargets: list('storage nodes that may be contacted: HOST:PORT or CIDR:PORT'),
    tracker: list('HTTP APIs of trackers, whose storage nodes may be contacted too; URLs'),
    trackerToken: Type.Optional(Type.String({ description: 'API token for the trackers' })),
    fileRoots: list('directories, by absolute path, whose files X-Reproxy-File may name'),
    trustedProxies: list('proxies whose forwarding fields are believed: addresses or CIDRs'),
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
    clientStallTimeoutMs: milliseconds(60_000, 'a client may take, or in its body send, nothing'),
    uploadStallTimeoutMs: milliseconds(30_000, 'a client may send nothing in its body, if less'),
    drainTimeoutMs: milliseconds(30_000, 'for requests in progress when closing'),
    hedgeDelayMs: milliseconds(200, 'until a second node is asked beside a slow one; 0: never', 0),
    maxAttempts: limit(6, 'requests to nodes for one client request'),
    retryBudgetRatio: Type.Number({
      minimum: 0,
      maximum: 100,
      default: 0.2,
      description: 'repeated attempts in progress at one time, per request in progress',
    }),
    retryBudgetMin: limit(10, 'repeated attempts in progress that are always allowed', 0),
    breakerFailures: limit(5, 'faults in a row after which a node is asked last'),
    breakerOpenMs: milliseconds(10_000, 'until such a node is tried again'),
    maxInflight: limit(10_000, 'client requests in progress; more get 503'),
    maxPerNode: limit(256, 'requests in progress at one node; more wait'),
    maxPerApp: limit(1024, 'requests in progress at one application server; more wait'),
    maxConnections: limit(4096, 'client connections; more are closed'),
    maxConnectionsPerAddress: limit(
      256,
      'of these, from one address that is neither loopback nor a trusted proxy',
    ),
    bufferBytes: limit(262_144, 'bytes buffered per client'),
    maxHeaderBytes: Type.Integer({
      minimum: 256,
      maximum: 1_048_576,
      default: 32_768,
      description: 'longest head of a request or response',
    }),
    maxTargetBytes: Type.Integer({
      minimum: 16,
      maximum: 1_048_576,
      default: 8192,
      description: 'longest request target',
    }),
    maxRanges: limit(16, 'ranges of one request; more get the whole file'),
    mapCacheEntries: limit(10_000, 'answers of the application that are kept; 0: none', 0),
    bodyCacheBytes: limit(64 * 1024 * 1024, 'memory for small hot files; 0: none', 0),
    bodyCacheMaxFile: limit(262_144, 'largest file that is kept in memory', 0),
    bodyCacheTtlMs: milliseconds(60_000, 'a file is kept in memory'),
    verifyReads: Type.Boolean({
      default: false,
      description: 'hold whole files to the SHA-256 that the application gives in Repr-Digest',
    }),
    direct: Type.Optional(Direct),
    tls: Type.Optional(Tls),
    accessLog: Type.String({ default: 'stdout', description: 'path of the access log, or stdout' }),
    accessLogFormat: Type.Union([Type.Literal('json'), Type.Literal('combined')], {
      default: 'json',
      description: 'json or combined',
    }),
    workers: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 1,
      description: 'processes that serve side by side',
    }),
    logLevel: LogLevel,
  },
  closed,
)
export type ReproxyConfig = Type.Static<typeof ReproxyConfig>
