/** pymogilefs: reads up to CR LF, never decodes a value, and takes the names of pairs apart by position. */
import { escape, joined, type ForeignClient } from './client.ts'

/** Names that it can read in the answers to some commands; any other raises. */
const names: Readonly<Record<string, RegExp>> = {
  create_host: /^host[a-z]+$/,
  update_host: /^host[a-z]+$/,
  get_hosts: /^hosts$|^host\d+_\w+$/,
  get_devices: /^devices$|^dev\d+_\w+$/,
  list_keys: /^key_count$|^next_after$|^key_\d+$/,
}

export function createPymogilefs(): ForeignClient {
  let asked = ''
  return {
    name: 'pymogilefs',
    request(command, args) {
      asked = command
      return joined(command, args, text => escape(text, /[A-Za-z0-9_.\- ~]/).replaceAll(' ', '+'))
    },
    parse(line) {
      const [status, rest, ...more] = splitOnce(line.slice(0, line.indexOf('\r\n')))
      if (rest === undefined || more.length > 0) throw new Error('not enough values to unpack')
      if (status === 'ERR') {
        const [code = '', text] = splitOnce(rest)
        if (text === undefined) throw new Error('not enough values to unpack')
        return { ok: false, code }
      }
      if (status !== 'OK') throw new Error(`unexpected status ${status}`)
      const pairs = rest === '' ? [] : rest.split('&').map(pair => pair.split('='))
      for (const [name = '', , ...parts] of pairs) {
        if (parts.length > 0) throw new Error('dictionary update sequence has length 3')
        if (!(names[asked] ?? /./).test(name)) throw new Error(`cannot read the name ${name}`)
      }
      return { ok: true, pairs: new Map(pairs.map(([name = '', value = '']) => [name, value])) }
    },
  }
}

function splitOnce(text: string): string[] {
  const space = text.indexOf(' ')
  return space < 0 ? [text] : [text.slice(0, space), text.slice(space + 1)]
}
