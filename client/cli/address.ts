/** Files on the command line: `DOMAIN:KEY`, as scp and rclone write it. */
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
    const domain = /^[^:/]+$/.test(text) ? ` ("${text}:" is all of a domain)` : ''
    throw new UsageError(`${JSON.stringify(text)} is not DOMAIN:KEY${domain}`)
  }
  return address
}

/**
 * The same; undefined where no domain is named. The domain ends at the first colon; in it `\:` stands
 * for a colon and `\\` for a backslash.
 */
export function splitAddress(text: string): Address | undefined {
  const [, domain, key] = /^((?:\\.|[^:\\])+):(.*)$/s.exec(text) ?? []
  if (domain === undefined || key === undefined) return undefined
  return { domain: domain.replaceAll(/\\([\\:])/g, '$1'), key }
}

/** A domain as it stands before the colon of an address, made printable. */
export const addressDomain = (domain: string): string => printable(domain).replaceAll(':', '\\:')

/** The address of a file, made printable. As text, the bytes of its key are base64url. */
export function addressOf({
  domain,
  key,
  keyBytes,
}: Address & { readonly keyBytes?: Uint8Array | string | undefined }): string {
  const bytes = typeof keyBytes === 'string' ? Buffer.from(keyBytes, 'base64url') : keyBytes
  return `${addressDomain(domain)}:${printableKey({ key, keyBytes: bytes })}`
}

/** Reads `DOMAIN:KEY` of one file. */
export function parseFile(text: string): Address {
  const address = parseAddress(text)
  checkFileKey(address.key, text)
  return address
}

/** Throws UsageError, naming `text`, unless `key` may be the key of a file. */
export function checkFileKey(key: string, text: string): void {
  try {
    checkKey(Buffer.from(key))
  } catch (err) {
    if (!isCoded(err)) throw err
    throw new UsageError(`${JSON.stringify(text)}: ${err.message}`)
  }
}

/** True when the key stands for a folder: what is put there keeps its own name. */
export const isFolder = (key: string): boolean => key === '' || key.endsWith('/')

/** The part of a key after its last slash; empty for a folder. */
export const lastPart = (key: string): string => key.slice(key.lastIndexOf('/') + 1)
