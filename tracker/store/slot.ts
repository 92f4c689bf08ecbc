import { crc32 } from 'node:zlib'

/** How many slots the per-file tables are cut into. Fixed for ever: it is part of every row's key. */
const slots = 4096

/** The slot of a key: CRC-32 (zlib's) of the domain id, big-endian, and the key's bytes, mod 4096. */
export function slotOf(domainId: number, key: Uint8Array): number {
  const prefix = Buffer.allocUnsafe(4)
  prefix.writeInt32BE(domainId)
  return crc32(key, crc32(prefix)) % slots
}
