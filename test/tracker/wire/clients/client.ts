/** What a client in the field makes of the line protocol's bytes. */

export type Reply =
  | { readonly ok: true; readonly pairs: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly code: string }

export interface ForeignClient {
  readonly name: string
  /** A request as it sends it, line end included. Names and values are wire strings. */
  request(command: string, args: Readonly<Record<string, string>>): string
  /** What it reads in a reply line, CR LF included. Throws an Error where it would fail or hang. */
  parse(line: string): Reply
}

/** Percent-escapes the bytes that `plain` does not match. */
export const escape = (value: string, plain: RegExp): string =>
  Array.from(value, byte =>
    plain.test(byte) ? byte : `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('')

export const unescape = (text: string): string =>
  text
    .replaceAll('+', ' ')
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** `command name=value&…`, with both parts of each pair encoded. */
export const joined = (
  command: string,
  args: Readonly<Record<string, string>>,
  encode: (text: string) => string,
): string =>
  `${command} ${Object.entries(args)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&')}\r\n`
