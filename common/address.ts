/**
 * Addresses as settings and URLs have them, and the error of settings: what the command line needs of
 * `config.ts`, without the schemas that take it long to load.
 */

/** A setting that cannot be used. The message is one line that names it; the exit status is 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `PORT` (loopback). Throws ConfigError naming `setting`. */
export function parseAddress(setting: string, text: string): Address {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65535) {
    throw new ConfigError(`${setting}: must be HOST:PORT, not ${JSON.stringify(text)}`)
  }
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port }
}

/** `HOST:PORT` as it stands in a URL, IPv6 in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Where an `http:` or `https:` URL is reached; an IPv6 address comes without its brackets. */
export function urlAddress({ protocol, hostname, port }: URL): Address {
  const usualPort = protocol === 'https:' ? 443 : 80
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || usualPort) }
}

/** True for 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
