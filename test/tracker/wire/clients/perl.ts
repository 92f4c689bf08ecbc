/** MogileFS::Backend of the Perl client; mogadm and the other utilities use it too. */
import { escape, joined, unescape, type ForeignClient } from './client.ts'

export const perl: ForeignClient = {
  name: 'perl MogileFS::Client',
  request: (command, args) =>
    joined(command, args, text => escape(text, /[A-Za-z0-9_,\-./\\: ]/).replaceAll(' ', '+')),
  parse(line) {
    const [, code] = /^ERR\s+(\w+)\s*(\S*)/.exec(line) ?? []
    if (code !== undefined) return { ok: false, code }
    // A word of digits may follow OK: an old form gave the length of the answer there.
    const [, body] = /^OK\s+\d*\s*(\S*)/.exec(line) ?? []
    if (body === undefined) throw new Error('invalid response from server')
    const pairs = body
      .split('&')
      .filter(pair => pair !== '')
      .map(pair => pair.split('='))
      .map(([name = '', value = '']) => [unescape(name), unescape(value)] as const)
    return { ok: true, pairs: new Map(pairs) }
  },
}

/** The old Ruby client: the same patterns, and lower-case escapes. */
export const ruby: ForeignClient = {
  ...perl,
  name: 'ruby mogilefs-client',
  request: (command, args) =>
    perl.request(command, args).replace(/%[0-9A-F]{2}/g, hex => hex.toLowerCase()),
}
