/** The digest of a file as the application tells it, so that what nodes send can be held to it. */
import { createHash, type Hash } from 'node:crypto'
import { valuesOf, type Field } from '../http/headers.ts'

/** The SHA-256 in Repr-Digest (RFC 9530), in base64; undefined where it is not told. */
export function toldSha256(fields: readonly Field[]): string | undefined {
  const members = valuesOf(fields, 'repr-digest').flatMap(value => value.split(','))
  for (const member of members) {
    const [, digest] = /^\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*$/.exec(member) ?? []
    if (digest !== undefined) return digest
  }
  return undefined
}

export const newSha256 = (): Hash => createHash('sha256')

/** Whether `bytes` are what was told; true where nothing was. */
export const isAsTold = (bytes: Buffer, told: string | undefined): boolean =>
  told === undefined || newSha256().update(bytes).digest('base64') === told
