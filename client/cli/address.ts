/** Files on the command line: `DOMAIN:KEY`, as scp and rclone write it. */
import { isCoded } from '../../common/errors.ts'
import { checkKey } from '../../common/keys.ts'
import { UsageError } from './failure.ts'

export interface Address {
  readonly domain: string
  /** May be empty. */
  readonly key: string
}

/** Reads `DOMAIN:KEY`, where the key may be empty. The domain ends at the first colon. */
export function parseAddress(text: string): Address {
  const colon = text.indexOf(':')
  if (colon < 1) throw new UsageError(`${JSON.stringify(text)} is not DOMAIN:KEY`)
  return { domain: text.slice(0, colon), key: text.slice(colon + 1) }
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
