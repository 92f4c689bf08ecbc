/** URLs of direct mode that work for a while: `?e=EXPIRY&s=HMAC` over the path exactly as it is sent. */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** The signature of `path`, which works until `expires` (Unix seconds), in lower-case hex. */
export function signPath(secret: string, path: string, expires: number | string): string {
  return createHmac('sha256', secret).update(`${path}\n${expires}`).digest('hex')
}

/** True when `query` (without "?") holds a signature of `path` that has not expired at `nowSeconds`. */
export function isSigned(
  secret: string,
  { path, query }: { readonly path: string; readonly query: string },
  nowSeconds: number,
): boolean {
  const given = new URLSearchParams(query)
  const expiries = given.getAll('e')
  const signatures = given.getAll('s')
  const [expires = ''] = expiries
  const [signature = ''] = signatures
  if (expiries.length !== 1 || signatures.length !== 1 || !/^\d{1,15}$/.test(expires)) return false
  const a = Buffer.from(signature)
  const b = Buffer.from(signPath(secret, path, expires))
  return a.length === b.length && timingSafeEqual(a, b) && Number(expires) >= nowSeconds
}
