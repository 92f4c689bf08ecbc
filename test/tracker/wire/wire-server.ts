/** The line protocol's server with commands of its own behind it, and clients that see every byte. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Test } from 'tap'
import { CodedError } from '../../../common/errors.ts'
import { formatOk, rawPath } from '../../../tracker/wire/codec.ts'
import {
  createWireServer,
  type WireRequest,
  type WireServerOptions,
} from '../../../tracker/wire/server.ts'

/** A replica's URL. */
export const replica = (host: number, fid: number): string =>
  `http://127.0.1.${host}:7500/dev${host}/0/000/000/00000000${fid}.fid`

/** What a tracker with one file would answer; `echo` and `wait` serve the tests. */
export function answer({ command, args, callid }: WireRequest): string | Promise<string> {
  switch (command) {
    case 'noop':
      return formatOk([], callid)
    case 'echo':
      return formatOk([['value', args.get('value') ?? '']], callid)
    case 'wait':
      return sleep(Number(args.get('ms')), formatOk([['waited', 1]], callid))
    case 'create_open':
      return formatOk([
        ['fid', 13],
        ['devid', 1],
        ['path', rawPath(replica(1, 13))],
      ])
    case 'file_info':
      return formatOk([
        ['fid', 12],
        ['domain', args.get('domain') ?? ''],
        ['class', 'default'],
        ['key', args.get('key') ?? ''],
        ['length', 5],
        ['devcount', 2],
      ])
    case 'get_domains':
      return formatOk([
        ['domains', 1],
        ['domain1class1replpolicy', 'MultipleHosts()'],
      ])
    case 'list_keys':
      return Promise.reject(new CodedError('none_match', 'no more keys'))
    case 'delete':
      throw new CodedError('unknown_key', 'no file nope in testdom')
    case 'rename':
      throw new CodedError('key_exists', 'there is a file taken in testdom')
    case 'get_paths':
      throw new CodedError('size_mismatch', 'Expected: é; actual: 4')
    case 'crash':
      throw new TypeError('secret detail')
    case 'crash_later':
      return Promise.reject(new TypeError('secret detail'))
    default:
      throw new CodedError('unknown_command', command)
  }
}

/** Starts one that answers as `answer` does, and tells what it logged. It closes with `t`. */
export async function startServer(t: Test, options: Partial<WireServerOptions> = {}) {
  const logged: { msg: string; err?: { stack: string } }[] = []
  const log = pino({ level: 'debug' }, { write: line => logged.push(JSON.parse(line)) })
  const listen = [{ host: '127.0.0.1', port: 0 }]
  const server = createWireServer({ listen, handle: answer, log, ...options })
  await server.start()
  t.teardown(() => server.close())
  return { server, port: server.addresses[0]?.port ?? 0, logged }
}

/** A client that sees every byte. */
export class Client {
  readonly socket: Socket
  received = ''

  constructor(port: number, host = '127.0.0.1') {
    this.socket = connect({ port, host, allowHalfOpen: true, noDelay: true })
    this.socket.setEncoding('latin1')
    this.socket.on('data', text => {
      this.received += String(text)
    })
    this.socket.on('error', () => {})
  }

  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** All that has come once it is `bytes` long. */
  async receive(bytes: number): Promise<string> {
    await until(() => this.received.length >= bytes || this.socket.closed)
    return this.received
  }

  /** All that has come by the time the server ended its side. */
  async rest(): Promise<string> {
    await until(() => this.socket.readableEnded || this.socket.closed)
    return this.received
  }
}

/** Connects; the connection ends with `t`. */
export async function startClient(t: Test, port: number): Promise<Client> {
  const client = new Client(port)
  t.teardown(() => client.socket.destroy())
  await once(client.socket, 'connect')
  return client
}

/** A promise that is kept when the test says so. */
export function hold<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(keep => {
    resolve = keep
  })
  return { promise, resolve }
}

/** Resolves once it holds. Throws an Error after ten seconds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; !condition(); n++) {
    if (n === 12_000) throw new Error(`did not come true: ${String(condition)}`)
    await sleep(5)
  }
}

/** Sends it all, ends, and returns all that came back. */
export async function exchange(t: Test, port: number, sent: string): Promise<string> {
  const client = await startClient(t, port)
  client.send(sent).socket.end()
  return client.rest()
}

/** The answer to what is no command. */
export const unknown = 'ERR unknown_command Unknown+server+command\r\n'
