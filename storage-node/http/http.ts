/** The verbs of a storage node: what WebDAV clients, MogileFS and our own daemons ask of it. */
import { METHODS } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { CodedError, isCoded } from '../../common/errors.ts'
import { createServer, type HttpOptions } from '../../common/http.ts'
import type { Logger } from '../../common/log.ts'
import { checkGrant, type Grant, type HostKeys } from '../../common/signing.ts'
import { version } from '../../common/version.ts'
import { answerBatch, batchNames, readBatch, type BatchLine } from './batch.ts'
import { Buffers } from '../writing/buffers.ts'
import { allowPages, type CorsPolicy } from './cors.ts'
import type { Device } from '../device/device.ts'
import type { Devices } from '../device/devices.ts'
import { Lanes } from '../lane/lane.ts'
import { createConnectionLimit, maxConnections } from './limits.ts'
import { sendFile, sendInventory, sendUsage } from './reads.ts'
import { createPuller, parseSource, type Puller, type Source } from '../pull/source.ts'
import { parseTarget, splitTarget, type Target } from './target.ts'
import { Uploads } from './uploads.ts'
import { allowedVerbs, comesByItself, isReserved, knownVerbs } from './verbs.ts'
import { askForBody, copy, makeDirectory, pullCopy, put, remove } from './writes.ts'

export interface NodeHttpOptions {
  readonly devices: Devices
  /** Name of the host, for `GET /`. */
  readonly name: string
  /** Keys whose signatures count; the first signs receipts. */
  readonly keys: readonly HostKeys[]
  /** Unsigned requests are taken as well. */
  readonly open: boolean
  /** `HOST:PORT` of the nodes that unsigned copies may come from. */
  readonly sources: ReadonlySet<string>
  /** False: nothing is flushed. */
  readonly fsync: boolean
  readonly cors: CorsPolicy
  readonly log: Logger
  /** What `/metrics` shows in place of what is in this process's registry. */
  readonly shareMetrics?: HttpOptions['shareMetrics']
}

export interface NodeServer {
  readonly app: FastifyInstance
  /** Connections end with the answer under way; `cut` ends them at once. */
  drain(): void
  cut(): void
  close(): Promise<void>
}

/** What this node can do beyond any WebDAV server, for those who ask. */
const capabilities = [
  'copy',
  'copies',
  'content-range',
  'deletions',
  'digest',
  'inventory',
  'receipt',
  'set-aside',
]

/** Creates the server; it listens when told to. */
export function createNodeServer(options: NodeHttpOptions): NodeServer {
  const { log, devices, keys, open, cors, shareMetrics } = options
  const { app, metrics } = createServer({
    log,
    name: 'storage_node',
    shareMetrics,
    fastify: {
      // One route for all files: the router would decode what must be read as it was sent.
      rewriteUrl: ({ url = '' }) => (/^\/(health|metrics)($|\?)/.test(url) ? url : '/file'),
    },
  })
  // The client is told to go on when it is known that its body will be read.
  app.server.on('checkContinue', (request, response) => {
    app.server.emit('request', request, response)
  })

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  // CONNECT never comes as a request.
  const methods = METHODS.filter(method => method !== 'CONNECT')
  for (const method of methods) {
    if (!knownVerbs.has(method) || method === 'MKCOL' || method === 'COPY')
      app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  allowPages(app, { policy: cors, signs: keys.length > 0 })
  const buffers = new Buffers()
  const uploads = new Uploads(options)
  const puller = createPuller(buffers)
  app.route({
    method: methods,
    url: '/file',
    onRequest: (request, _reply, done) => {
      // Bytes are stored whatever they are called; fastify would refuse a type it cannot read.
      delete request.raw.headers['content-type']
      done()
    },
    handler: createHandler({ ...options, buffers, uploads, puller }),
  })

  // Node's server has its connections from this listener; it gets them when ours is done with them.
  const [serve] = app.server.listeners('connection') as ((socket: Socket) => void)[]
  const lanes = new Lanes({
    devices,
    keys,
    open,
    buffers,
    uploads,
    log,
    count: countRequests(metrics),
    handOver: socket => serve?.call(app.server, socket),
  })
  app.server.removeAllListeners('connection')
  app.server.maxConnections = maxConnections
  const admit = createConnectionLimit()
  app.server.on('connection', (socket: Socket) => {
    if (admit(socket)) lanes.take(socket)
    else socket.destroy()
  })
  describeDevices(metrics, devices)
  return {
    app,
    drain: () => lanes.close(),
    cut: () => lanes.cut(),
    close: async () => puller.close(),
  }
}

/** The short way counts into the same metrics as the long one. */
function countRequests(metrics: Registry): (method: string, status: number, ms: number) => void {
  const requests = metrics.getSingleMetric('storage_node_requests_total')
  const seconds = metrics.getSingleMetric('storage_node_request_seconds')
  return (method, code, ms) => {
    if (requests instanceof Counter) requests.inc({ method, code: String(code) })
    if (seconds instanceof Histogram) seconds.observe(ms / 1000)
  }
}

function describeDevices(metrics: Registry, devices: Devices): void {
  const states = new Gauge({
    name: 'storage_node_device_writeable',
    help: '1 while files can be written to the device',
    labelNames: ['device', 'state'],
    registers: [metrics],
    // Of several processes that tell of it.
    aggregator: 'min',
    collect: () => {
      states.reset()
      for (const { devid, state } of devices.known()) {
        states.set({ device: String(devid), state }, state === 'writeable' ? 1 : 0)
      }
    },
  })
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

interface HandlerOptions extends NodeHttpOptions {
  readonly buffers: Buffers
  readonly uploads: Uploads
  readonly puller: Puller
}

function createHandler(options: HandlerOptions): Handler {
  const { devices, name, keys, buffers, uploads, puller, fsync } = options

  return async (request, reply) => {
    const { method } = request
    const { path, token } = splitTarget(request.originalUrl)
    if (path === '*') return reply.header('allow', allVerbs).code(204).send()
    if (method === 'POST' && isBatch(path)) return several(path, token, { request, reply })
    if (!knownVerbs.has(method)) throw notAllowed(reply, verbsAt(path))
    const target = parseTarget(path)
    if (method === 'OPTIONS') return reply.header('allow', allowedVerbs(target)).code(204).send()
    if (target === undefined) {
      if (!isRead(method)) throw badPath('nothing can be written here')
      const flushing = fsync ? 'on' : 'off'
      const list = await devices.list()
      const about = { server: 'omgfiles', version, name, devices: list }
      return reply.send({ ...about, fsync: flushing, capabilities })
    }
    const source = method === 'COPY' ? sourceOf(request.headers['source'], target) : undefined
    const signed = closing(reply, () => authorize(options, { method, target, token, source }))
    if (isRead(method)) return read(target, request, reply)
    if (target.hidden || (target.directory && method !== 'MKCOL')) throw badPath('not a file')
    if (isReserved(target)) throw notAllowed(reply, allowedVerbs(target))
    if (method === 'MKCOL' && comesByItself(target)) {
      // MogileFS's trackers take this status as "do not ask again".
      throw new CodedError('bad_request', 'PUT makes the directories it needs')
    }
    const device = await devices.get(target.devid)
    if (method === 'MKCOL') return makeDirectory({ request, reply, device, target })
    const replace = target.fid === undefined || !signed
    const exchange = { request, reply, device, target, uploads, key: keys[0], replace }
    if (method === 'DELETE') return remove(exchange)
    return source ? copy(exchange, puller, source) : put(exchange)
  }

  async function several(
    path: string,
    token: string | undefined,
    { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  ): Promise<FastifyReply> {
    const target = parseTarget(path)
    if (!target) throw badPath('nothing can be written here')
    const copying = target.path === 'copies'
    const method = copying ? 'COPY' : 'DELETE'
    closing(reply, () => authorize(options, { method, target, token, source: undefined }))
    askForBody({ request, reply })
    const lines = await readBatch(request.raw)
    const device = await devices.get(target.devid)
    const handle = (line: BatchLine): Promise<object> =>
      copying ? copyLine(device, line) : deleteLine(device, line)
    const answer = answerBatch(lines, handle, err => request.log.error({ err }, 'line failed'))
    return reply.type('application/x-ndjson').send(answer)
  }

  async function copyLine(device: Device, line: BatchLine): Promise<object> {
    const { target, token } = lineTarget(device, line)
    const source = sourceOf(line.source, target)
    const signed = authorize(options, { method: 'COPY', target, token, source })
    const { size, sha256 } = line
    const { digests } = await pullCopy(
      { device, target, uploads, replace: !signed },
      { puller, source, size, digests: sha256 ? { sha256 } : {} },
    )
    return { sha256: digests.sha256.toString('hex') }
  }

  async function deleteLine(device: Device, line: BatchLine): Promise<object> {
    const { target, token } = lineTarget(device, line)
    authorize(options, { method: 'DELETE', target, token, source: undefined })
    await device.remove(target.path, { together: true })
    return {}
  }

  async function read(
    target: Target,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    if (target.hidden) throw new CodedError('not_found', 'no such file')
    const device = await devices.get(target.devid)
    const { path, directory } = target
    if (!directory && path === 'usage') return sendUsage(device, { request, reply })
    if (!directory && path === 'inventory') return sendInventory(device, { request, reply })
    if (directory) throw new CodedError('not_regular', 'directories are not listed')
    if (batchNames.has(path)) throw notAllowed(reply, allowedVerbs(target))
    return sendFile(device, path, buffers, { request, reply })
  }
}

const allVerbs = [...knownVerbs].join(', ')

/** What a path that may be nonsense would take if it were none. */
function verbsAt(path: string): string {
  try {
    return allowedVerbs(parseTarget(path))
  } catch {
    return allVerbs
  }
}

function sourceOf(field: string | string[] | undefined, { devid, fid }: Target): Source {
  if (fid === undefined) throw badPath('only replicas are copied')
  if (field === undefined) {
    throw new CodedError('bad_request', 'Source names the replica to copy from')
  }
  return parseSource(field, { devid, fid })
}

const isBatch = (path: string): boolean => batchNames.has(path.replace(/^\/dev\d+\//, ''))

/** What a line names: a replica on the device that its request names. */
function lineTarget(
  { devid }: Device,
  line: BatchLine,
): { target: Target; token: string | undefined } {
  const { path, token } = splitTarget(line.path)
  const target = parseTarget(path)
  if (target?.devid !== devid || target.directory || target.fid === undefined) {
    throw badPath('not a replica on this device')
  }
  return { target, token }
}

interface Request {
  readonly method: string
  readonly target: Target
  readonly token: string | undefined
  readonly source: Source | undefined
}

/**
 * True when the request is signed, false when it may go without. Who signs a copy names where it may
 * come from; for one that is not signed, the settings do.
 */
function authorize(
  { keys, open, sources }: NodeHttpOptions,
  { method, target, token, source }: Request,
): boolean {
  if (token === undefined && open) {
    if (source && !sources.has(source.origin)) {
      throw new CodedError('source_refused', 'copies are not taken from there')
    }
    return false
  }
  const { devid, path, fid } = target
  const name = fid === undefined ? path : String(fid)
  const grant: Grant = {
    method: method === 'DELETE' || method === 'COPY' ? method : isRead(method) ? 'GET' : 'PUT',
    devid,
    object: source ? `${name}@${source.origin}` : name,
  }
  checkGrant(keys, token ?? '', grant, Date.now() / 1000)
  return true
}

/** Ends the connection of who may not do what they ask for: their body is not read. */
function closing<T>(reply: FastifyReply, check: () => T): T {
  try {
    return check()
  } catch (err) {
    if (isCoded(err, 'bad_token') || isCoded(err, 'token_expired')) {
      reply.header('connection', 'close')
    }
    throw err
  }
}

const isRead = (method: string): boolean => method === 'GET' || method === 'HEAD'

const badPath = (message: string): CodedError => new CodedError('bad_path', message)

function notAllowed(reply: FastifyReply, allow: string): CodedError {
  reply.header('allow', allow)
  return new CodedError('method_not_allowed', `allowed are ${allow}`)
}
