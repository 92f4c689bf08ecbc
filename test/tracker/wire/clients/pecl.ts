/** pecl-mogilefs (PHP): shouts its commands, encodes nothing, and decodes a line before splitting it. */
import { joined, unescape, type ForeignClient } from './client.ts'

/** The longest line that it takes. */
const longestReply = 264_005

export const pecl: ForeignClient = {
  name: 'pecl-mogilefs',
  request: (command, args) => joined(command.toUpperCase(), args, text => text),
  parse(line) {
    if (line.length > longestReply || !line.endsWith('\r\n')) throw new Error('could not read')
    const text = unescape(line.slice(0, -2))
    if (text.startsWith('ERR ')) return { ok: false, code: text.slice(4).split(' ')[0] ?? '' }
    if (!text.startsWith('OK')) throw new Error('invalid response')
    const pairs = text
      .slice(3)
      .split('&')
      .filter(pair => pair !== '')
      .map(pair => pair.split('='))
    for (const pair of pairs) if (pair.length < 2) throw new Error('a pair without =')
    return { ok: true, pairs: new Map(pairs.map(([name = '', value = '']) => [name, value])) }
  },
}
