/** The addresses of files on the command line: `DOMAIN:KEY`, as scp and rclone write them. */
import { isCoded } from '../../common/errors.ts'
import { checkKey } from '../../common/keys.ts'
import { UsageError } from './failure.ts'
import { printable, printableKey } from './text.ts'

export interface Address {
  readonly domain: string
  /** May be empty. */
  readonly key: string
}

/** Reads `DOMAIN:KEY`, where the key may be empty. Throws UsageError. */
export function parseAddress(text: string): Address {
  const address = splitAddress(text)
  if (!address) {
    const hint = /^[^:/]+$/.test(text) ? ` (write "${text}:" for all of the domain)` : ''
    throw new UsageError(`${JSON.stringify(text)} is not DOMAIN:KEY${hint}`)
  }
  return address
}

/**
 * Reads `DOMAIN:KEY`; undefined for a text that names no domain. The domain ends at the first colon. In it,
 * `\:` stands for a colon and `\\` for a backslash.
 */
export function splitAddress(text: string): Address | undefined {
  const [, domain, key] = /^((?:\\.|[^:\\])+):(.*)$/s.exec(text) ?? []
  if (domain === undefined || key === undefined) return undefined
  return { domain: domain.replaceAll(/\\([\\:])/g, '$1'), key }
}

/** A domain as it is written in an address, safe to print. */
export const addressDomain = (domain: string): string => printable(domain).replaceAll(':', '\\:')

/** The address of a file, safe to print. `keyBytes` as a string is base64url. */
export function addressOf({
  domain,
  key,
  keyBytes,
}: Address & { readonly keyBytes?: Uint8Array | string | undefined }): string {
  const bytes = typeof keyBytes === 'string' ? Buffer.from(keyBytes, 'base64url') : keyBytes
  return `${addressDomain(domain)}:${printableKey({ key, keyBytes: bytes })}`
}

/** Reads `DOMAIN:KEY` of one file, so that the key must not be empty. Throws UsageError. */
export function parseFile(text: string): Address {
  const address = parseAddress(text)
  checkFileKey(address.key, text)
  return address
}

/** Reads `DOMAIN:KEY` of a folder, so that the key is empty or ends with `/`. Throws UsageError. */
export function parseFolder(text: string): Address {
  const address = parseAddress(text)
  if (isFolder(address.key)) return address
  throw new UsageError(`a folder ends with /, as in ${JSON.stringify(`${text}/`)}`)
}

/** Throws a UsageError that begins with `text`, unless `key` is valid for a file. */
export function checkFileKey(key: string, text: string): void {
  try {
    checkKey(Buffer.from(key))
  } catch (err) {
    if (!isCoded(err)) throw err
    throw new UsageError(`${JSON.stringify(text)}: ${err.message}`)
  }
}

/** True when the key stands for a folder: files that are put there keep their own names. */
export const isFolder = (key: string): boolean => key === '' || key.endsWith('/')

/** The part of a key after its last slash; '' for a folder. */
export const lastPart = (key: string): string => key.slice(key.lastIndexOf('/') + 1)
