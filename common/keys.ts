/**
 * Keys of files: byte strings of 1 to 1,024 bytes. In URLs they are percent-encoded. In JSON they are text,
 * and when they are not valid UTF-8, base64url in a second field.
 */
import { CodedError } from './errors.ts'

/** Most bytes of a key over HTTP. */
export const maxKeyBytes = 1024

/** Most keys in one batch. */
export const maxBatchKeys = 1000

const unreserved = /[A-Za-z0-9\-_.~!$'()*,;:@]/

const encoded = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte)
  return unreserved.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

/** Percent-encodes every byte that could mean something in a path or a query; `/` included. */
export function encodeKey(key: string | Uint8Array): string {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key
  let text = ''
  for (const byte of bytes) text += encoded[byte]
  return text
}

/** The bytes of a percent-encoded part of a raw URL. Throws bad_request for a broken escape. */
export function decodeKey(raw: string): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(raw)) {
    throw new CodedError('bad_request', `broken percent-encoding in ${JSON.stringify(raw)}`)
  }
  const text = raw.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(text, 'latin1')
}

/** Throws no_key or key_too_long unless `key` is a valid key. */
export function checkKey(key: Uint8Array): void {
  if (key.length === 0) throw new CodedError('no_key', 'a key has at least one byte')
  if (key.length > maxKeyBytes) {
    throw new CodedError(
      'key_too_long',
      `a key has at most ${maxKeyBytes} bytes, not ${key.length}`,
    )
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A key as JSON: `keyBytes` (base64url) is only there when the bytes are not valid UTF-8. */
export function keyToJson(key: Uint8Array): { key: string; keyBytes?: string } {
  try {
    return { key: utf8.decode(key) }
  } catch {
    const bytes = Buffer.from(key)
    return { key: bytes.toString('utf8'), keyBytes: bytes.toString('base64url') }
  }
}

/** The key in a JSON body: `keyBytes` wins over `key`. Throws no_key or key_too_long. */
export function keyFromJson(body: { key?: string; keyBytes?: string }): Buffer {
  const key =
    body.keyBytes === undefined
      ? Buffer.from(body.key ?? '')
      : Buffer.from(body.keyBytes, 'base64url')
  checkKey(key)
  return key
}
