/**
 * What the photo application reads of a request, and which ones it refuses, each with an error that
 * says what to do instead.
 */
import { finished, PassThrough, type Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { CodedError } from '../../common/errors.ts'
import { accepts, isPicture, mediaType } from './pictures.ts'

/** Longest name of an uploaded picture, in bytes: what file systems allow. */
const maxNameBytes = 255

export interface Upload {
  readonly name: string
  readonly size: number
  readonly contentType: string
}

/**
 * What is about to be uploaded. Throws bad_request for an unusable name or no content,
 * unsupported_media_type, length_required and payload_too_large.
 */
export function checkUpload({ headers }: FastifyRequest, name: string): Upload {
  if (name === '' || Buffer.byteLength(name) > maxNameBytes || /[\p{Cc}/]/u.test(name)) {
    throw new CodedError(
      'bad_request',
      `a name has 1 to ${maxNameBytes} bytes and neither slashes nor control characters`,
    )
  }
  const contentType = mediaType(headers['content-type'])
  if (!isPicture(contentType)) {
    throw new CodedError(
      'unsupported_media_type',
      `pictures are JPEG, PNG, GIF, WebP or AVIF, not ${contentType || 'of no stated type'}`,
    )
  }
  const length = headers['content-length']
  if (length === undefined) {
    throw new CodedError('length_required', 'an upload states its size in Content-Length')
  }
  const size = Number(length)
  if (size === 0) throw new CodedError('bad_request', 'this picture is empty')
  if (size > accepts.maxBytes) {
    throw new CodedError(
      'payload_too_large',
      `a picture has at most ${accepts.maxBytes / 1e6} MB, not ${Math.ceil(size / 1e6)} MB`,
    )
  }
  return { name, size, contentType }
}

/**
 * The body as a stream apart from the connection. A put that fails destroys what it reads; with
 * `request.raw` the connection would go, and the answer with it. What nobody reads any more flows
 * away, since a browser looks at the answer only once it has sent everything.
 */
export function bodyOf({ raw }: FastifyRequest): Readable {
  const body = new PassThrough()
  raw.pipe(body)
  finished(raw, { writable: false }, err => {
    if (err) body.destroy(err)
  })
  body.once('close', () => raw.resume())
  return body
}

/**
 * Refuses what another site's page makes a browser send. Without cookies there is no session to
 * abuse, but an application on a private network is reachable from any page its users open.
 * Throws forbidden.
 */
export function checkSameOrigin({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  const { origin, host } = headers
  const foreign =
    (site !== undefined && site !== 'same-origin') ||
    (origin !== undefined && origin.replace(/^https?:\/\//, '') !== host)
  if (foreign) throw new CodedError('forbidden', 'only pages of this site may change pictures')
}

/** True when a proxy that honours `X-Reproxy-URL` passed this request on. */
export function isReproxied({ headers }: FastifyRequest): boolean {
  return String(headers['x-proxy-capabilities'])
    .split(/[\s,]+/)
    .includes('reproxy-url')
}

/** Throws no_reproxy when nobody would put a picture's bytes in the place of our empty answer. */
export function checkReproxied(request: FastifyRequest): void {
  if (isReproxied(request)) return
  throw new CodedError(
    'no_reproxy',
    'this is the application itself: open the address of the reproxy in front of it to see pictures',
  )
}
