/** Addresses and networks that may do something. */
import { BlockList, isIP } from 'node:net'
import { ConfigError, isLoopback } from '../common/config.ts'

/** True for an address that is on the list; IPv4 in IPv6 counts as IPv4. */
export type AllowList = (address: string | undefined) => boolean

const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

/** True for an address of this machine's own loopback. */
export function isLocal(address: string | undefined): boolean {
  return address !== undefined && isLoopback(plain(address))
}

/** Reads `ADDRESS` or `NETWORK/BITS`, separated by commas. Throws ConfigError naming `setting`. */
export function parseAllowList(setting: string, text: string): AllowList {
  const list = new BlockList()
  for (const entry of text.split(',').map(part => part.trim())) {
    if (entry === '') continue
    const [address = '', bits, more] = entry.split('/')
    const version = isIP(address)
    const maxBits = version === 6 ? 128 : 32
    const length = bits === undefined ? maxBits : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN
    if (version === 0 || more !== undefined || !(length <= maxBits)) {
      throw new ConfigError(`${setting}: ${JSON.stringify(entry)} is no address or network`)
    }
    list.addSubnet(address, length, version === 6 ? 'ipv6' : 'ipv4')
  }
  return given => {
    const address = plain(given ?? '')
    const version = isIP(address)
    return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4')
  }
}
