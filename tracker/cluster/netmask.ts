import { BlockList, isIP } from 'node:net'

/** Tells whether an address belongs to a network. */
export type Netmask = (address: string) => boolean

export interface Network {
  /** Of the address, that all in the network have in common. */
  readonly bits: number
  readonly holds: Netmask
}

/**
 * Reads a network as MogileFS writes it: `ADDRESS`, `ADDRESS/BITS`, or for IPv4 with the mask spelt
 * out, `10.0.0.0/255.0.0.0` and `10.0.0.0:255.0.0.0`. Undefined for anything else.
 */
export function parseNetwork(text: string): Network | undefined {
  const [, address = '', bits] = /^([^/]+)(?:\/(.+))?$/.exec(spelledWithSlash(text)) ?? []
  const version = isIP(address)
  if (version === 0) return undefined
  const widest = version === 6 ? 128 : 32
  const prefix = bits === undefined ? widest : prefixOf(bits, version)
  if (prefix === undefined || prefix > widest) return undefined
  const list = new BlockList()
  list.addSubnet(address, prefix, familyOf(address))
  return {
    bits: prefix,
    holds: other => isIP(other) !== 0 && list.check(other, familyOf(other)),
  }
}

/** The same, as far as only what it holds matters. */
export const parseNetmask = (text: string): Netmask | undefined => parseNetwork(text)?.holds

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

const spelledWithSlash = (text: string): string => {
  const [address = '', mask, ...more] = text.split(':')
  return mask !== undefined && more.length === 0 ? `${address}/${mask}` : text
}

function prefixOf(bits: string, version: number): number | undefined {
  if (/^\d{1,3}$/.test(bits)) return Number(bits)
  if (version !== 4 || isIP(bits) !== 4) return undefined
  const binary = bits
    .split('.')
    .map(byte => Number(byte).toString(2).padStart(8, '0'))
    .join('')
  return /^1*0*$/.test(binary) ? binary.lastIndexOf('1') + 1 : undefined
}
