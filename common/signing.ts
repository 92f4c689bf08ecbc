/**
 * Signed URLs, which say what a client may ask a storage node for, and receipts, with which a node proves
 * what it stored. Trackers hold one cluster secret. From it, a secret for each host is derived (HKDF, RFC
 * 5869); a node holds only its own, so a stolen node cannot speak for others. Signatures are HMAC-SHA-256
 * over parsed values, never over a path, so nothing has to be brought into a canonical form.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { CodedError } from './errors.ts'

/** What a signed URL allows. `object` is a fid in decimal, or another name below the device, such as `usage`. */
export interface Grant {
  /** GET also allows HEAD. */
  readonly method: 'GET' | 'PUT' | 'DELETE' | 'COPY'
  readonly devid: number
  readonly object: string
}

/** A replica that a node has stored: `size` in bytes, `sha256` in lower-case hex. */
export interface Receipt {
  readonly fid: number
  readonly devid: number
  readonly size: number
  readonly sha256: string
}

/** The signing keys of one host. A node holds its own, a tracker can derive those of every host. */
export interface HostKeys {
  readonly url: Buffer
  readonly receipt: Buffer
}

/** Fewest bytes of a secret. */
export const minSecretBytes = 32

/** Seconds that a signature stays valid after its expiry, since clocks differ. */
const skewSeconds = 60

const derive = (key: Buffer | string, label: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, '', `omgfiles ${label}`, 32))

/** The secret for the storage node called `host`, base64url. Its operator starts it with this. */
export function hostSecret(clusterSecret: string, host: string): string {
  return derive(clusterSecret, `host ${host}`).toString('base64url')
}

/** Derives the signing keys from the secret of a node. */
export function hostKeys(secret: string): HostKeys {
  return { url: derive(secret, 'url'), receipt: derive(secret, 'receipt') }
}

// 24 of the 32 bytes: 192 bits, which base64url writes without padding.
const mac = (key: Buffer, fields: readonly (string | number)[]): string =>
  createHmac('sha256', key).update(fields.join('\n')).digest().subarray(0, 24).toString('base64url')

function sameText(given: string, wanted: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(wanted)
  return a.length === b.length && timingSafeEqual(a, b)
}

const grantMac = (key: Buffer, { method, devid, object }: Grant, expires: number): string =>
  mac(key, ['v1', method, devid, object, expires])

/**
 * The query (without `?`) of a URL that allows `grant` until `expires`, in Unix seconds. It has no `%`, `&`
 * or `=`, because MogileFS clients pass paths on undecoded.
 */
export function signGrant(keys: HostKeys, grant: Grant, expires: number): string {
  return `${expires}.${grantMac(keys.url, grant, expires)}`
}

/** Throws bad_token unless one of `keys` has signed `token` for `grant`, token_expired when it is too late. */
export function checkGrant(
  keys: readonly HostKeys[],
  token: string,
  grant: Grant,
  nowSeconds: number,
): void {
  const match = /^(\d{1,12})\.([A-Za-z0-9_-]{32})$/.exec(token)
  const [, expiry, given] = match ?? []
  if (expiry === undefined || given === undefined) throw new CodedError('bad_token', 'not allowed')
  const expires = Number(expiry)
  if (!keys.some(key => sameText(given, grantMac(key.url, grant, expires)))) {
    throw new CodedError('bad_token', 'not allowed')
  }
  if (expires + skewSeconds < nowSeconds) throw new CodedError('token_expired', 'not allowed')
}

const receiptMac = (key: Buffer, r: Receipt): string =>
  mac(key, ['r1', r.fid, r.devid, r.size, r.sha256])

/** A receipt: the signed statement of a node that it has stored these bytes durably. */
export function signReceipt(keys: HostKeys, receipt: Receipt): string {
  const { fid, devid, size, sha256 } = receipt
  return `r1.${fid}.${devid}.${size}.${sha256}.${receiptMac(keys.receipt, receipt)}`
}

/** Reads a receipt without checking it: only its device tells which keys it must be signed with. */
export function parseReceipt(text: string): Receipt | undefined {
  const match = /^r1\.(\d{1,16})\.(\d{1,10})\.(\d{1,16})\.([0-9a-f]{64})\.[A-Za-z0-9_-]{32}$/.exec(
    text,
  )
  if (!match?.[4]) return undefined
  return {
    fid: Number(match[1]),
    devid: Number(match[2]),
    size: Number(match[3]),
    sha256: match[4],
  }
}

/** True when one of `keys` has signed this receipt. */
export function checkReceipt(keys: readonly HostKeys[], text: string): boolean {
  const receipt = parseReceipt(text)
  if (!receipt) return false
  const given = text.slice(text.lastIndexOf('.') + 1)
  return keys.some(key => sameText(given, receiptMac(key.receipt, receipt)))
}
