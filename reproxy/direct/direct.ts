/**
 * Files straight from the trackers: `<prefix>/<domain>/<key>` needs no application. A signature in
 * the query allows one path for a while; domains that are public need none.
 */
import type { DirectConfig } from '../config/schema.ts'
import type { Field } from '../http/headers.ts'
import type { Cancel } from '../upstream/cancel.ts'
import { contentTypeOf } from './content-type.ts'
import type { FileName, Location, Locator } from './locate.ts'
import { isSigned } from './signature.ts'

/** What a request to direct mode gets: an own answer, or a file. */
export type DirectAnswer =
  | { readonly kind: 'refused'; readonly status: 403 | 404 | 405 | 503 }
  | {
      readonly kind: 'file'
      readonly urls: readonly string[]
      readonly size: number | undefined
      readonly fields: readonly Field[]
    }

export interface Direct {
  /** True when this request target belongs to direct mode. */
  covers(target: string): boolean
  answer(method: string, target: string, cancel: Cancel): Promise<DirectAnswer>
  close(): Promise<void>
}

const refused = (status: 403 | 404 | 405 | 503): DirectAnswer => ({ kind: 'refused', status })

/** Field values that may go into a head. */
const isPlain = (value: string | undefined): value is string =>
  value !== undefined && /^[\x20-\x7e]{1,1000}$/.test(value)

/** Creates direct mode. */
export function createDirect(config: DirectConfig, locator: Locator): Direct {
  const prefix = config.prefix.replace(/\/+$/, '')
  const publicDomains = new Set(config.publicDomains)

  return {
    covers: target => target.startsWith(`${prefix}/`),
    async answer(method, target, cancel) {
      if (method !== 'GET' && method !== 'HEAD') return refused(405)
      const [path = '', ...rest] = target.split('?')
      const file = parsePath(path.slice(prefix.length))
      const { signSecret } = config
      if (signSecret !== undefined && !(file && publicDomains.has(file.domain))) {
        const sent = { path, query: rest.join('?') }
        if (!isSigned(signSecret, sent, Date.now() / 1000)) return refused(403)
      }
      if (!file) return refused(404)
      const found = await locator.locate(file, cancel.toSignal())
      if (found === 'unknown') return refused(404)
      if (found === 'unavailable' || found.urls.length === 0) return refused(503)
      return {
        kind: 'file',
        urls: found.urls,
        size: found.size,
        fields: fieldsOf(file, found, config.cacheControl),
      }
    },
    close: () => locator.close(),
  }
}

/** Domain and key of `/domain/key…`, percent-decoded once; undefined when they cannot be. */
function parsePath(path: string): FileName | undefined {
  const [, rawDomain = '', rawKey = ''] = /^\/([^/]+)\/(.+)$/.exec(path) ?? []
  const domain = decode(rawDomain)
  const key = decode(rawKey)
  if (!domain || !key) return undefined
  const name = domain.toString('utf8')
  return Buffer.from(name).equals(domain) ? { domain: name, key } : undefined
}

function decode(text: string): Buffer | undefined {
  if (text === '' || /%(?![0-9A-Fa-f]{2})/.test(text)) return undefined
  const bytes = text.replace(/%(..)/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(bytes, 'latin1')
}

function fieldsOf(
  { key }: FileName,
  { fid, sha256, class: name, contentType, metadata }: Location,
  cacheControl: DirectConfig['cacheControl'],
): Field[] {
  const type = isPlain(contentType) ? contentType : contentTypeOf(key.toString('latin1'))
  const fields: Field[] = [
    ['Content-Type', type],
    ['X-Content-Type-Options', 'nosniff'],
  ]
  if (fid !== undefined) fields.push(['ETag', `"fid-${fid}"`])
  if (sha256 !== undefined) {
    fields.push(['Repr-Digest', `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`])
  }
  const policies = new Map(Object.entries(cacheControl))
  const policy = policies.get(name ?? '*') ?? policies.get('*')
  if (isPlain(policy)) fields.push(['Cache-Control', policy])
  const disposition = metadata?.['content-disposition']
  if (isPlain(disposition)) fields.push(['Content-Disposition', disposition])
  return fields
}
