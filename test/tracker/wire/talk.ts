/** A client of the line protocol that sees every byte. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { parseAddress } from '../../../common/config.ts'
import { decodeArgs, encodeValue } from '../../../tracker/wire/codec.ts'

export interface Talk {
  /** Sends one line and returns the one line of the answer, without its CR LF. */
  ask(line: string): Promise<string>
  /** As `ask`; the code of an `ERR` answer, any other answer whole. */
  code(line: string): Promise<string>
  /** Sends these bytes as one packet and returns so many lines of the answer. */
  exchange(bytes: string, lines: number): Promise<string[]>
  /** What came and was not asked for. */
  unread(): string
}

/** Connects to `address`; the connection ends with `t`. Texts are wire strings: one character per byte. */
export async function openTalk(t: Pick<Test, 'teardown'>, address: string): Promise<Talk> {
  const socket = connect({ ...parseAddress('wire', address), noDelay: true })
  t.teardown(() => socket.destroy())
  let buffer = ''
  let arrived = (): void => {}
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    buffer += chunk
    arrived()
  })
  socket.on('close', () => arrived())
  await once(socket, 'connect')
  const readLine = async (): Promise<string> => {
    while (!buffer.includes('\n')) {
      if (socket.closed) throw new Error('the tracker hung up')
      await new Promise<void>(resolve => {
        arrived = resolve
      })
    }
    const end = buffer.indexOf('\n')
    const line = buffer.slice(0, end)
    buffer = buffer.slice(end + 1)
    if (!line.endsWith('\r')) throw new Error(`no CR: ${JSON.stringify(line)}`)
    return line.slice(0, -1)
  }
  const exchange = async (bytes: string, lines: number): Promise<string[]> => {
    socket.write(bytes, 'latin1')
    const answers: string[] = []
    while (answers.length < lines) answers.push(await readLine())
    return answers
  }
  const ask = async (line: string): Promise<string> => (await exchange(`${line}\r\n`, 1))[0] ?? ''
  return {
    ask,
    async code(line) {
      const answer = await ask(line)
      return answer.startsWith('ERR ') ? (answer.split(' ')[1] ?? '') : answer
    },
    exchange,
    unread: () => buffer,
  }
}

/** The pairs of an `OK` answer. Throws an Error on any other. */
export function pairsOf(answer: string): Map<string, string> {
  if (!answer.startsWith('OK ')) throw new Error(answer)
  return decodeArgs(answer.slice(3))
}

/** A request line. Values are wire strings. */
export function lineOf(command: string, args: Record<string, string | number>): string {
  const pairs = Object.entries(args).map(([name, value]) => `${name}=${encodeValue(String(value))}`)
  return `${command} ${pairs.join('&')}`
}

/** An upload as `create_open` answered it. */
export interface Opened {
  readonly fid: number
  /** Best first. */
  readonly targets: readonly { readonly devid: number; readonly path: string }[]
}

/** Reads both forms of the answer to `create_open`. */
export function readOpened(answer: string): Opened {
  const pairs = pairsOf(answer)
  const target = (suffix: string) => ({
    devid: Number(pairs.get(`devid${suffix}`)),
    path: pairs.get(`path${suffix}`) ?? '',
  })
  const count = pairs.get('dev_count')
  const targets =
    count === undefined
      ? [target('')]
      : Array.from({ length: Number(count) }, (_, i) => target(`_${i + 1}`))
  return { fid: Number(pairs.get('fid')), targets }
}
