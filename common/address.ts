/**
 * `HOST:PORT` addresses in settings and URLs, and the error for settings that are wrong. They are not in
 * `config.ts` because the command line needs them, but not the schemas there, which are slow to load.
 */

/** A setting that is wrong. The message is one line that names the setting; the exit status is 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `PORT` (on loopback). Throws a ConfigError that names `setting`. */
export function parseAddress(setting: string, text: string): Address {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65535) {
    throw new ConfigError(`${setting}: must be HOST:PORT, not ${JSON.stringify(text)}`)
  }
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port }
}

/** `HOST:PORT`, with an IPv6 address in brackets, as in URLs. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The address of an `http:` or `https:` URL; an IPv6 address comes without brackets. */
export function urlAddress({ protocol, hostname, port }: URL): Address {
  const usualPort = protocol === 'https:' ? 443 : 80
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || usualPort) }
}

/** True for 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
