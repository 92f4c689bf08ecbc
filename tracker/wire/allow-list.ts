/** Which addresses may connect. */
import { BlockList, isIP } from 'node:net'
import { ConfigError } from '../../common/config.ts'

/** An address as IPv4 where it is one, also on a socket that takes both families (`::ffff:10.0.0.1`). */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/**
 * A test for addresses on a list of `ADDRESS` or `ADDRESS/BITS`; an empty list lets everyone in.
 * Throws ConfigError naming the entry that is neither.
 */
export function parseAllowList(entries: readonly string[]): (address: string) => boolean {
  if (entries.length === 0) return () => true
  const list = new BlockList()
  for (const entry of entries) addEntry(list, entry)
  return address => isIP(address) !== 0 && list.check(address, familyOf(address))
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

function addEntry(list: BlockList, entry: string): void {
  const [, address = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? []
  const version = isIP(address)
  const widest = version === 6 ? 128 : 32
  const bits = digits === undefined ? widest : Number(digits)
  if (version === 0 || bits > widest) {
    throw new ConfigError(`allow: must be ADDRESS or ADDRESS/BITS, not ${JSON.stringify(entry)}`)
  }
  list.addSubnet(address, bits, familyOf(address))
}
