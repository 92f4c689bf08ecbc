/** nginx-mogilefs-module: a parser over the buffer that the answer came in. */
import { escape, joined, unescape, type ForeignClient } from './client.ts'

/** Its default `mogilefs_buffer`: what does not fit is an error. */
const bufferBytes = 4096

export const nginx: ForeignClient = {
  name: 'nginx-mogilefs-module',
  request: (command, args) =>
    // eslint-disable-next-line no-control-regex -- these are what it escapes
    joined(command, args, text => escape(text, /[^\x00-\x20\x7f%]/)),
  parse(line) {
    if (line.length > bufferBytes) throw new Error('upstream sent too big an answer')
    if (!line.endsWith('\r\n')) throw new Error('waits for CR LF')
    const body = line.slice(0, -2)
    if (body.startsWith('ERR ')) {
      return { ok: false, code: body.slice(4).split(' ')[0] ?? '' }
    }
    if (!body.startsWith('OK ')) throw new Error('upstream sent an invalid answer')
    const pairs = new Map<string, string>()
    for (let at = 3; at < body.length;) {
      const end = body.indexOf('&', at) < 0 ? body.length : body.indexOf('&', at)
      if (end === at) throw new Error('loops for ever on an empty segment')
      const equals = body.indexOf('=', at)
      if (equals < 0 || equals > end) throw new Error('a pair without =')
      const name = body.slice(at, equals)
      const value = body.slice(equals + 1, end)
      // It decodes in place and keeps the old length.
      if (name.startsWith('path') && value.includes('%'))
        throw new Error('a path with junk at its end')
      pairs.set(name, unescape(value))
      at = end + 1
    }
    return { ok: true, pairs }
  },
}
