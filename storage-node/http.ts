/** The verbs of a storage node: what WebDAV clients, MogileFS and our own daemons ask of it. */
import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CodedError } from '../common/errors.ts'
import type { Logger } from '../common/log.ts'
import { createServer } from '../common/http.ts'
import { checkGrant, signReceipt, type Grant, type HostKeys } from '../common/signing.ts'
import { version } from '../common/version.ts'
import { readBody } from './body.ts'
import type { OpenFile } from './device.ts'
import type { Devices } from './devices.ts'
import { explain } from './errno.ts'
import { parseRange } from './range.ts'
import { Buffers, sendPiece } from './send.ts'
import { parseTarget, splitTarget, type Target } from './target.ts'
import { formatUsage } from './usage.ts'

export interface NodeHttpOptions {
  readonly devices: Devices
  /** Name of the host, for `GET /`. */
  readonly name: string
  /** Keys whose signatures count; the first signs receipts. */
  readonly keys: readonly HostKeys[]
  /** Unsigned requests are taken as well. */
  readonly open: boolean
  readonly log: Logger
}

const readVerbs = 'GET, HEAD, OPTIONS'
const fileVerbs = 'GET, HEAD, PUT, DELETE, OPTIONS'
const known: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'MKCOL', 'OPTIONS'])

/** All that uploads may hold in memory together, and the pieces in which they are written. */
const uploadBudget = 64 * 1024 * 1024
const maxPiece = 512 * 1024
const minPiece = 32 * 1024

/** Creates the server; it listens when told to. */
export function createNodeServer(options: NodeHttpOptions): FastifyInstance {
  const { app } = createServer({
    log: options.log,
    name: 'storage_node',
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
    if (!known.has(method) || method === 'MKCOL')
      app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  app.route({
    method: methods,
    url: '/file',
    onRequest: (request, _reply, done) => {
      // Bytes are stored whatever they are called; fastify would refuse a type it cannot read.
      delete request.raw.headers['content-type']
      done()
    },
    handler: createHandler(options),
  })
  return app
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>

function createHandler(options: NodeHttpOptions): Handler {
  const { devices, name, keys, open } = options
  const buffers = new Buffers()
  let uploads = 0
  const pieceSize = (): number =>
    Math.max(minPiece, Math.min(maxPiece, Math.floor(uploadBudget / 2 / Math.max(1, uploads))))

  return async (request, reply) => {
    const { method } = request
    const { path, token } = splitTarget(request.originalUrl)
    if (!known.has(method)) throw notAllowed(reply, fileVerbs)
    if (path === '*') return reply.header('allow', fileVerbs).code(204).send()
    const target = parseTarget(path)
    const readOnly = target === undefined || target.path === 'usage'
    if (method === 'OPTIONS') {
      return reply
        .header('allow', readOnly ? readVerbs : fileVerbs)
        .code(204)
        .send()
    }
    if (target === undefined) {
      if (!isRead(method)) throw badPath('nothing can be written here')
      return reply.send({ server: 'omgfiles', version, name, devices: await devices.list() })
    }
    const signed = authorize(method, target, token, reply)
    if (isRead(method)) return read(target, request, reply)
    if (target.hidden || (target.directory && method !== 'MKCOL')) throw badPath('not a file')
    if (readOnly) throw notAllowed(reply, readVerbs)
    switch (method) {
      case 'PUT':
        uploads++
        return await put(target, signed, request, reply).finally(() => uploads--)
      case 'DELETE':
        await (await devices.get(target.devid)).remove(target.path)
        return reply.code(204).send()
      default:
        // MogileFS's trackers take this status as "do not ask again".
        throw new CodedError('bad_request', 'PUT makes the directories it needs')
    }
  }

  /** True when the request is signed, false when it may go without. */
  function authorize(
    method: string,
    { devid, path, fid }: Target,
    token: string | undefined,
    reply: FastifyReply,
  ): boolean {
    if (token === undefined && open) return false
    const granted: Grant['method'] = method === 'DELETE' ? 'DELETE' : isRead(method) ? 'GET' : 'PUT'
    const grant = { method: granted, devid, object: fid === undefined ? path : String(fid) }
    try {
      checkGrant(keys, token ?? '', grant, Date.now() / 1000)
    } catch (err) {
      reply.header('connection', 'close')
      throw err
    }
    return true
  }

  async function read(
    target: Target,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    if (target.hidden) throw new CodedError('not_found', 'no such file')
    const device = await devices.get(target.devid)
    if (target.path === 'usage' && !target.directory) {
      const text = formatUsage(await device.usage(), Math.floor(Date.now() / 1000))
      return reply.type('text/plain; charset=utf-8').send(text)
    }
    if (target.directory) throw new CodedError('not_regular', 'directories are not listed')
    const file = await device.open(target.path)
    try {
      return await sendFile(file, request, reply)
    } catch (err) {
      throw explain(err, target.devid)
    } finally {
      await file.handle.close()
    }
  }

  async function sendFile(
    { handle, size, modifiedAt }: OpenFile,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { headers, method } = request
    const lastModified = modifiedAt.toUTCString()
    const since = Date.parse(headers['if-modified-since'] ?? '')
    if (Math.floor(modifiedAt.getTime() / 1000) * 1000 <= since) {
      return reply.header('last-modified', lastModified).code(304).send()
    }
    // A range belongs to GET alone, and to the file that the client has seen (RFC 9110, 14.2 and 13.1.5).
    const mayBePart = method === 'GET' && (headers['if-range'] ?? lastModified) === lastModified
    const range = mayBePart ? parseRange(headers.range, size) : undefined
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${size}`)
      throw new CodedError('range_not_satisfiable', `the file has ${size} bytes`)
    }
    const start = range?.first ?? 0
    const length = range ? range.last - range.first + 1 : size
    const head = {
      status: range ? 206 : 200,
      headers: {
        'Content-Type': 'application/octet-stream',
        'Content-Length': length,
        'Last-Modified': lastModified,
        'Accept-Ranges': 'bytes',
        'X-Content-Type-Options': 'nosniff',
        ...(range && { 'Content-Range': `bytes ${range.first}-${range.last}/${size}` }),
      },
    }
    if (method === 'HEAD' || length === 0) {
      reply.hijack()
      reply.raw.writeHead(head.status, head.headers).end()
    } else {
      await sendPiece(reply, buffers, head, { handle, start, length })
    }
    return reply
  }

  async function put(
    { devid, path, fid }: Target,
    signed: boolean,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { headers } = request
    if (headers['content-range'] !== undefined) {
      throw new CodedError('not_implemented', 'a file is written as a whole')
    }
    const chunked = headers['transfer-encoding'] !== undefined
    if (!chunked && headers['content-length'] === undefined) {
      throw new CodedError('length_required', 'send Content-Length, or the body in chunks')
    }
    const size = chunked ? undefined : Number(headers['content-length'])
    const md5 = parseMd5(headers['content-md5'])
    const device = await devices.get(devid)
    await device.checkWritable(size)
    if (headers.expect !== undefined) reply.raw.writeContinue()
    const written = await device.write(path, readBody(request.raw), {
      size,
      md5,
      // The content of a fid never changes; without signatures we are as lenient as MogileFS.
      replace: fid === undefined || !signed,
      pieceSize,
    })
    const [key] = keys
    if (key && fid !== undefined) {
      const sha256 = written.sha256.toString('hex')
      reply.header('omg-receipt', signReceipt(key, { fid, devid, size: written.size, sha256 }))
    }
    // RFC 9530 section 3.
    reply.header('repr-digest', `sha-256=:${written.sha256.toString('base64')}:`)
    return reply.code(201).send()
  }
}

const isRead = (method: string): boolean => method === 'GET' || method === 'HEAD'

const badPath = (message: string): CodedError => new CodedError('bad_path', message)

function notAllowed(reply: FastifyReply, allow: string): CodedError {
  reply.header('allow', allow)
  return new CodedError('method_not_allowed', `allowed are ${allow}`)
}

/** Content-MD5 (RFC 1864), padding optional. Throws bad_checksum. */
function parseMd5(header: string | string[] | undefined): Buffer | undefined {
  if (header === undefined) return undefined
  if (typeof header !== 'string' || !/^[A-Za-z0-9+/]{22}(==)?$/.test(header)) {
    throw new CodedError('bad_checksum', 'Content-MD5 is not base64 of 16 bytes')
  }
  return Buffer.from(header, 'base64')
}
