/** GET and HEAD as far as they are not answered the short way, and what is read of a device itself. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CodedError, isCoded } from '../../common/errors.ts'
import { fileAnswer } from './answer.ts'
import type { Buffers } from '../writing/buffers.ts'
import type { Device } from '../device/device.ts'
import { formatDigests, wantedDigests, type Algorithm } from '../digests/digests.ts'
import { explain } from '../disk/errno.ts'
import type { OpenFile } from '../disk/open-files.ts'
import { parseRange } from './range.ts'
import { formatUsage } from '../disk/usage.ts'

interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

/** Answers with how full a device is. */
export async function sendUsage(device: Device, { reply }: Exchange): Promise<FastifyReply> {
  const usage = await device.usage()
  const text = formatUsage(usage, Math.floor(Date.now() / 1000), device.unreadable.list())
  return reply.type('text/plain; charset=utf-8').send(text)
}

/**
 * Answers with a file or the part that is asked for; with its digests, read from the disk for that,
 * where Want-Repr-Digest (RFC 9530) names some; `Priority: u=7` has time for that.
 */
export async function sendFile(
  device: Device,
  path: string,
  buffers: Buffers,
  exchange: Exchange,
): Promise<FastifyReply> {
  const { headers } = exchange.request
  const algorithms = wantedDigests(headers['want-repr-digest'])
  const patient = isBackground(headers['priority'])
  const found =
    algorithms.length > 0 ? await device.digest(path, algorithms, { patient }) : undefined
  const file = await device.open(path)
  try {
    const digest = found?.size === file.size ? formatDigests(found.digests) : ''
    return await sendOpened(device, file, { digest, buffers, ...exchange })
  } catch (err) {
    throw explain(err, device.devid)
  } finally {
    device.release(file)
  }
}

/** The lowest urgency there is (RFC 9218 section 4.1). */
const isBackground = (field: string | string[] | undefined): boolean =>
  /(?:^|[,\s])u=7(?:$|[,;\s])/.test(String(field ?? ''))

async function sendOpened(
  device: Device,
  file: OpenFile,
  { request, reply, buffers, digest }: Exchange & { buffers: Buffers; digest: string },
): Promise<FastifyReply> {
  const { headers, method } = request
  const { size, modifiedAt } = file
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
  const { status, fields } = fileAnswer(file, range)
  if (digest !== '') fields['Repr-Digest'] = digest
  const begin = (): string => {
    reply.hijack()
    reply.raw.writeHead(status, fields)
    return ''
  }
  if (method === 'HEAD' || length === 0) {
    begin()
  } else {
    try {
      await device.send(reply.raw, buffers, { file, start, length }, begin)
    } catch (err) {
      if (!reply.raw.headersSent) throw err
      reply.log.error({ err, devid: device.devid }, 'read failed in mid-body')
      return reply
    }
  }
  reply.raw.end()
  return reply
}

/** Below, the list is in the order of the numbers. */
const orderedFids = 1e10

/** Characters that are sent at once. */
const batchLength = 16 * 1024

/**
 * Answers with what lies on a device: a line of JSON for each file, `{"fid","size","mtime"}` with
 * `digest` where Want-Repr-Digest asks for one (`error` where the file cannot be read), and
 * `{"end":true}` behind the last. `Omg-After-Fid` goes on behind a file that was listed before,
 * `Omg-Until-Fid` ends the list with the last file that it does not exclude.
 */
export function sendInventory(device: Device, { request, reply }: Exchange): FastifyReply {
  const after = fidField(request, 'Omg-After-Fid')
  const until = fidField(request, 'Omg-Until-Fid')
  const algorithms = wantedDigests(request.headers['want-repr-digest'])
  const lines = Readable.from(listLines(device, { after, until, algorithms }), {
    objectMode: false,
  })
  return reply.type('application/x-ndjson').send(lines)
}

function fidField({ headers }: FastifyRequest, name: string): number | undefined {
  const text = headers[name.toLowerCase()]
  if (text === undefined) return undefined
  const fid = Number(text)
  if (/^\d+$/.test(String(text)) && Number.isSafeInteger(fid)) return fid
  throw new CodedError('bad_request', `${name} is not a fid`)
}

interface Wanted {
  readonly after: number | undefined
  readonly until: number | undefined
  readonly algorithms: readonly Algorithm[]
}

async function* listLines(
  device: Device,
  { after, until = Number.POSITIVE_INFINITY, algorithms }: Wanted,
): AsyncGenerator<string, void, undefined> {
  let batch = ''
  for await (const { fid, path, size, modifiedAt } of device.files(after)) {
    if (fid > until) {
      // Longer numbers are not in the order of the list: it goes on behind them.
      if (fid < orderedFids) break
      continue
    }
    const mtime = Math.floor(modifiedAt.getTime() / 1000)
    const more = algorithms.length > 0 ? await digestOf(device, path, algorithms) : {}
    batch += `${JSON.stringify({ fid, size, mtime, ...more })}\n`
    if (batch.length < batchLength && algorithms.length === 0) continue
    yield batch
    batch = ''
  }
  yield `${batch}{"end":true}\n`
}

async function digestOf(
  device: Device,
  path: string,
  algorithms: readonly Algorithm[],
): Promise<{ digest: string } | { error: string }> {
  try {
    const { digests } = await device.digest(path, algorithms, { patient: true })
    return { digest: formatDigests(digests) }
  } catch (err) {
    if (!isCoded(err)) throw err
    return { error: err.code }
  }
}
