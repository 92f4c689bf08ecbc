/**
 * Which pages a browser lets use the node. A signed URL is all the credential there is, so whoever
 * has one may use it, from wherever the page comes; without signatures any page could reach the
 * node through its visitor's browser.
 */
import type { FastifyInstance } from 'fastify'
import { splitTarget } from './target.ts'

/** The requests that a page of any origin may make: those with a signed URL, all, or none. */
export type CorsPolicy = 'signed' | 'all' | 'off'

/** Fields of the CORS protocol (Fetch §3.2), the last three of which only a preflight needs. */
const fields = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers':
    'accept-ranges, content-range, omg-offset, omg-receipt, repr-digest, retry-after',
  'access-control-allow-methods': 'GET, HEAD, PUT',
  'access-control-allow-headers':
    'content-md5, content-range, content-type, if-range, omg-from, range, repr-digest, want-repr-digest, x-request-id',
  'access-control-max-age': '86400',
}

export interface CorsOptions {
  readonly policy: CorsPolicy
  /** The node has a secret; without one a query in a URL is no signature. */
  readonly signs: boolean
}

/**
 * Makes answers to pages carry the fields, refusals too, so that a page learns why. Whether the
 * signature is right is for the request itself to find out.
 */
export function allowPages(app: FastifyInstance, { policy, signs }: CorsOptions): void {
  if (policy === 'off' || (policy === 'signed' && !signs)) return
  app.addHook('onRequest', async ({ headers, originalUrl }, { raw }) => {
    if (headers.origin === undefined) return
    if (policy === 'signed' && splitTarget(originalUrl).token === undefined) return
    // On the raw answer, so that files which are sent past fastify carry them as well.
    for (const [name, value] of Object.entries(fields)) raw.setHeader(name, value)
  })
}
