/** PUT, COPY, DELETE and MKCOL as far as they are not answered the short way. */
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { HostKeys } from '../../common/signing.ts'
import { storedFields } from './answer.ts'
import { readBody, type Written } from '../writing/body.ts'
import type { Device } from '../device/device.ts'
import {
  agree,
  parseDigests,
  parseMd5,
  wantedDigests,
  type Algorithm,
  type Digests,
} from '../digests/digests.ts'
import type { Puller, Source } from '../pull/source.ts'
import type { Target } from './target.ts'
import type { Uploads } from './uploads.ts'
import { allowedVerbs } from './verbs.ts'

export interface WriteExchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly device: Device
  readonly target: Target
  readonly uploads: Uploads
  /** Signs receipts. */
  readonly key: HostKeys | undefined
  /** The content of a fid never changes; without signatures we are as lenient as MogileFS. */
  readonly replace: boolean
}

/** What a copy needs of it. */
export type CopyExchange = Pick<WriteExchange, 'device' | 'target' | 'uploads' | 'replace'>

/**
 * Tells a client that waits for it to send its body (RFC 9110 section 10.1.1: not one of HTTP/1.0, which
 * would take that for the answer).
 */
export function askForBody({ request, reply }: Pick<WriteExchange, 'request' | 'reply'>): void {
  const { headers, httpVersionMinor } = request.raw
  if (headers.expect !== undefined && httpVersionMinor > 0) reply.raw.writeContinue()
}

/** Stores the body of a request, or a part of a file. */
export async function put(exchange: WriteExchange): Promise<FastifyReply> {
  const { request, reply, device, target, uploads, replace } = exchange
  const { headers } = request
  const chunked = headers['transfer-encoding'] !== undefined
  if (!chunked && headers['content-length'] === undefined) {
    throw new CodedError('length_required', 'send Content-Length, or the body in chunks')
  }
  const size = chunked ? undefined : Number(headers['content-length'])
  const part = parsePart(headers, size)
  if (part && part.total === undefined && !replace) {
    throw new CodedError('not_implemented', 'with a signed URL the whole length must be told')
  }
  const options = {
    expected: expectedDigests(headers['repr-digest'], headers['content-md5']),
    algorithms: wantedDigests(headers['want-repr-digest']),
    replace,
    pieceSize: uploads.pieceSize,
  }
  await device.checkWritable(size)
  askForBody(exchange)
  const body = readBody(request.raw)
  const written = await uploads.run(() =>
    part
      ? device.putPart(target.path, body, { ...options, ...part })
      : device.write(target.path, body, { ...options, size }),
  )
  if (typeof written === 'number') {
    // Of a length that nobody has told, a part is all that was asked to be stored.
    const status = part?.total === undefined ? 201 : 202
    return reply.header('omg-offset', written).code(status).send()
  }
  return stored(written, exchange)
}

/** Pulls a replica from another node for a COPY. */
export async function copy(
  exchange: WriteExchange,
  puller: Puller,
  source: Source,
): Promise<FastifyReply> {
  const { headers } = exchange.request
  const algorithms = wantedDigests(headers['want-repr-digest'])
  const wanted = { ...expectedCopy(headers), algorithms }
  return stored(await pullCopy(exchange, { puller, source, ...wanted }), exchange)
}

interface Wanted {
  readonly puller: Puller
  readonly source: Source
  /** Bytes that the copy must have; undefined when not known. */
  readonly size: number | undefined
  /** Digests that it must have. */
  readonly digests: Digests
  /** Digests to take beside SHA-256 and those. */
  readonly algorithms?: readonly Algorithm[]
}

/**
 * Pulls a replica from another node; it gets its name when it is what it should be. Throws
 * source_failed, and what `Device.write` throws.
 */
export async function pullCopy(
  { device, target, uploads, replace }: CopyExchange,
  { puller, source, size: wanted, digests, algorithms }: Wanted,
): Promise<Written> {
  await device.checkWritable(wanted)
  const pulled = await puller.open(source, wanted)
  const { size, body, whole } = pulled
  try {
    if (size !== (wanted ?? size)) {
      throw new CodedError('source_failed', `the source has ${size} bytes, not ${wanted}`)
    }
    await device.checkWritable(size)
    return await uploads.run(() =>
      device.write(target.path, body, {
        size,
        expected: digests,
        algorithms,
        replace,
        pieceSize: uploads.pieceSize,
        whole,
      }),
    )
  } catch (err) {
    if (!isCoded(err, 'size_mismatch') && !isCoded(err, 'checksum_mismatch')) throw err
    throw new CodedError('source_failed', `the source is not what it should be: ${err.message}`)
  } finally {
    pulled.close()
  }
}

/** Deletes a file; with `Omg-Set-Aside` only sets it aside, and only when its bytes are wrong. */
export async function remove({
  request,
  reply,
  device,
  target,
}: Pick<WriteExchange, 'request' | 'reply' | 'device' | 'target'>): Promise<FastifyReply> {
  const field = request.headers['omg-set-aside']
  if (field === undefined) {
    await device.remove(target.path)
    return reply.code(204).send()
  }
  const { sha256 } = parseDigests(field)
  if (!sha256) throw new CodedError('bad_checksum', 'Omg-Set-Aside needs a sha-256')
  const setAside = await device.setAside(target.path, sha256)
  return setAside ? reply.code(204).send() : reply.send({ setAside })
}

/** Makes a directory for files with names of their own (RFC 4918 section 9.3). */
export async function makeDirectory({
  request,
  reply,
  device,
  target,
}: Pick<WriteExchange, 'request' | 'reply' | 'device' | 'target'>): Promise<FastifyReply> {
  const { headers } = request
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) {
    throw new CodedError('unsupported_media_type', 'a directory is made without a body')
  }
  if (await device.makeDirectory(target.path)) return reply.code(201).send()
  reply.header('allow', allowedVerbs(target).replace('MKCOL, ', ''))
  throw new CodedError('method_not_allowed', 'something has this name already')
}

function stored(written: Written, { reply, key, target }: WriteExchange): FastifyReply {
  return reply
    .headers(storedFields(written, key, target))
    .code(201)
    .send()
}

function expectedDigests(
  digest: string | string[] | undefined,
  contentMd5: string | string[] | undefined,
): Digests {
  const md5 = parseMd5(contentMd5)
  const digests = parseDigests(digest)
  if (!md5) return digests
  if (!agree(digests, { md5 })) throw new CodedError('bad_checksum', 'two digests that differ')
  return { ...digests, md5 }
}

function expectedCopy(headers: IncomingHttpHeaders): {
  size: number | undefined
  digests: Digests
} {
  const text = headers['omg-expected-size']
  const size = text === undefined ? undefined : Number(text)
  if (size !== undefined && !(/^\d+$/.test(String(text)) && Number.isSafeInteger(size))) {
    throw new CodedError('bad_request', 'Omg-Expected-Size is not a number of bytes')
  }
  return { size, digests: parseDigests(headers['omg-expected-digest']) }
}

/**
 * Reads Content-Range of a PUT: `bytes FIRST-LAST/TOTAL`; `bytes * /TOTAL` without the space and with
 * an empty body, which asks what is there from byte `Omg-From` on (0); `bytes FIRST-LAST/` and a star
 * from clients of MogileFS that do not know how long their file will be.
 */
function parsePart(
  { 'content-range': field, 'omg-from': from = '0' }: IncomingHttpHeaders,
  size: number | undefined,
): { first: number; length: number; total: number | undefined } | undefined {
  if (field === undefined) return undefined
  const match = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/.exec(field)
  if (!match || field.endsWith('*/*')) {
    throw new CodedError('bad_request', 'Content-Range is not bytes FIRST-LAST/TOTAL')
  }
  const total = match[3] === '*' ? undefined : Number(match[3])
  const isQuestion = match[1] === undefined
  if (isQuestion && !/^\d{1,15}$/.test(String(from))) {
    throw new CodedError('bad_request', 'Omg-From is not the number of a byte')
  }
  const first = Number(isQuestion ? from : match[1])
  const length = isQuestion ? 0 : Number(match[2]) - first + 1
  if (length < 0 || first + length > (total ?? Infinity) || (size ?? length) !== length) {
    throw new CodedError('bad_request', 'Content-Range does not fit the body')
  }
  return { first, length, total }
}
