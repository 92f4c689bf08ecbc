/**
 * The URLs an application names, and which of them may be contacted. The list comes from outside the
 * proxy's trust, so a URL is read by a grammar that leaves nothing to interpretation: what does not
 * fit is unusable, and what fits is dialled exactly as it was checked.
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import { ConfigError } from '../../common/config.ts'
import { addAddresses, holdsAddress, isMapped } from '../config/addresses.ts'

/** One URL of a list. */
export interface Target {
  /** An IP address without brackets, or a name in lower case. */
  readonly host: string
  readonly isAddress: boolean
  readonly port: number
  /** The node, as logs and metrics call it: HOST:PORT. */
  readonly node: string
  /** Host and port as they stand in the URL: what goes into the node's Host field. */
  readonly authority: string
  /** Path and query, verbatim. The query may hold a signature: it is never logged. */
  readonly path: string
}

const url = /^http:\/\/([^/\\?#@]+)(\/[\x21\x22\x24-\x7e\x80-\xff]*)?$/i
const hostAndPort = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/
const name = /^(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/
/** URL parsers read a host whose last label looks like a number as an IPv4 address, in any base. */
const numeric = /(?:^|\.)(?:\d+|0[xX][0-9A-Fa-f]*)$/

function parseHost(text: string): Pick<Target, 'host' | 'isAddress'> | undefined {
  if (text.startsWith('[')) {
    const host = text.slice(1, -1).toLowerCase()
    if (!isIPv6(host) || isMapped(host)) return undefined
    return { host, isAddress: true }
  }
  if (isIPv4(text)) return { host: text, isAddress: true }
  if (text.length > 253 || numeric.test(text) || !name.test(text)) return undefined
  return { host: text.toLowerCase(), isAddress: false }
}

type Place = Omit<Target, 'path'>

/** Places of late, of which there are few: reading one takes as long as the rest of a URL. */
const places = new Map<string, Place>()
const maxPlaces = 1000

/** Reads one URL; undefined when it is not one we would ever connect to. */
export function parseTarget(text: string): Target | undefined {
  const match = url.exec(text)
  if (!match) return undefined
  const [, authority = '', path = '/'] = match
  let place = places.get(authority)
  if (!place) {
    place = parsePlace(authority)
    if (!place) return undefined
    if (places.size >= maxPlaces) places.clear()
    places.set(authority, place)
  }
  const { host, isAddress, port, node } = place
  return { host, isAddress, port, node, authority, path }
}

function parsePlace(authority: string): Place | undefined {
  const [, hostText = '', portText = '80'] = hostAndPort.exec(authority) ?? []
  const parsed = parseHost(hostText)
  const port = Number(portText)
  if (!parsed || port < 1 || port > 65535) return undefined
  const { host, isAddress } = parsed
  const node = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  return { host, isAddress, port, node, authority }
}

/** The usable URLs of a list, in its order; blanks of any number stand between them. */
export function parseTargets(list: string): Target[] {
  return list
    .split(/[ \t]+/)
    .map(parseTarget)
    .filter(target => target !== undefined)
}

/** Which hosts and ports may be connected to. */
export class AllowList {
  readonly #networks = new Map<number, BlockList>()
  /** Names and IPv4 addresses, which have one spelling each, with their ports. */
  readonly #exact = new Set<string>()

  /** Adds `HOST:PORT`, `CIDR:PORT`, `[IPV6]:PORT` or `[IPV6/N]:PORT`. False when `text` is none of them. */
  add(text: string): boolean {
    const [, bracketed, plain = '', digits] =
      /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
    const port = Number(digits)
    if (!(port >= 1 && port <= 65535)) return false
    if (isIPv4(plain)) {
      this.#exact.add(`${plain}:${port}`)
      return true
    }
    const list = this.#networks.get(port) ?? new BlockList()
    if (addAddresses(list, bracketed ?? plain)) {
      this.#networks.set(port, list)
      return true
    }
    const host = bracketed === undefined ? parseHost(plain) : undefined
    if (!host || host.isAddress) return false
    this.#exact.add(`${host.host}:${port}`)
    return true
  }

  /** True when this very host and port is listed; a name is then still to be resolved and checked. */
  allows({ host, port, node }: Pick<Target, 'host' | 'port' | 'node'>): boolean {
    return this.#exact.has(node) || this.allowsAddress(host, port)
  }

  /** True when connecting to this address is allowed. */
  allowsAddress(address: string, port: number): boolean {
    if (isIPv4(address) && this.#exact.has(`${address}:${port}`)) return true
    const list = this.#networks.get(port)
    return list !== undefined && !isMapped(address) && holdsAddress(list, address)
  }
}

/** Reads a setting's entries. Throws ConfigError naming `setting`. */
export function parseAllowList(setting: string, entries: readonly string[]): AllowList {
  const list = new AllowList()
  for (const entry of entries) {
    if (!list.add(entry)) {
      throw new ConfigError(`--${setting}: not HOST:PORT or CIDR:PORT: ${JSON.stringify(entry)}`)
    }
  }
  return list
}
