/** Sets of IP addresses, as CIDR lists in settings describe them. */
import { BlockList, isIP } from 'node:net'
import { ConfigError } from '../../common/config.ts'

/** An address as the socket gives it, with IPv4 in its own notation also on a dual-stack listener. */
export function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
}

const mapped = new BlockList()
mapped.addSubnet('::ffff:0:0', 96, 'ipv6')

/** True for an IPv4 address in IPv6 notation, in any of its spellings. */
export function isMapped(address: string): boolean {
  return isIP(address) === 6 && mapped.check(address, 'ipv6')
}

/** The non-empty members of a comma-separated setting. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}

/** Adds `10.0.0.1`, `10.0.0.0/8` or their IPv6 likes to `list`. False when `text` is none of them. */
export function addAddresses(list: BlockList, text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const version = isIP(address)
  if (version === 0 || address.includes('%') || more.length > 0) return false
  const family = version === 4 ? 'ipv4' : 'ipv6'
  const bits = version === 4 ? 32 : 128
  if (prefix === undefined) list.addAddress(address, family)
  else if (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits) {
    list.addSubnet(address, Number(prefix), family)
  } else return false
  return true
}

/** True when `address` is in `list`; names and junk never are. */
export function holdsAddress(list: BlockList, address: string): boolean {
  if (list.rules.length === 0) return false
  const version = isIP(address)
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/** Reads a list of addresses and CIDRs. Throws ConfigError naming `setting`. */
export function parseAddressList(setting: string, entries: readonly string[]): BlockList {
  const list = new BlockList()
  for (const entry of entries) {
    if (!addAddresses(list, entry)) {
      throw new ConfigError(`--${setting}: not an address or CIDR: ${JSON.stringify(entry)}`)
    }
  }
  return list
}
