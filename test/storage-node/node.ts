/** A storage node for tests, and ways to talk to it that hide nothing. */
import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { createLogger } from '../../common/log.ts'
import { replicaPath } from '../../common/layout.ts'
import { hostKeys, signGrant, type Grant } from '../../common/signing.ts'
import { createStorageNode, type StorageNodeConfig } from '../../storage-node/index.ts'

export const secret = 'a secret of this test, 32 bytes or more'
export const keys = hostKeys(secret)

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** `code` of an error body. */
  readonly code: string | undefined
}

export interface TestNode {
  readonly root: string
  readonly port: number
  readonly sidePort: number
  send(method: string, path: string, options?: SendOptions): Promise<Answer>
  close(): Promise<void>
}

export interface SendOptions {
  readonly body?: string | Buffer
  readonly headers?: OutgoingHttpHeaders
  /** Milliseconds of silence after which it rejects; a connection that a dying process got stays open. */
  readonly patienceMs?: number
}

/** A node on a free port with devices 1 and 2, open unless a secret is given. */
export async function startNode(
  t: Test,
  options: Partial<StorageNodeConfig> & { devices?: number[] } = {},
): Promise<TestNode> {
  const { devices = [1, 2], ...config } = options
  const root = config.root ?? t.testdir()
  for (const devid of devices) mkdirSync(join(root, `dev${devid}`), { recursive: true })
  const node = createStorageNode(
    {
      listen: '127.0.0.1:0',
      name: 'testhost',
      open: config.secret === undefined,
      logLevel: 'silent',
      ...config,
      root,
    },
    createLogger('test', { level: 'silent' }),
  )
  await node.start()
  t.teardown(() => node.close())
  const { port } = node.address
  return {
    root,
    port,
    sidePort: Number(node.listening()['side']?.split(':').at(-1)),
    send: (method, path, sendOptions) => send(port, method, path, sendOptions),
    close: () => node.close(),
  }
}

/** One request, on a connection of its own. */
export async function send(
  port: number,
  method: string,
  path: string,
  { body = '', headers = {}, patienceMs }: SendOptions = {},
): Promise<Answer> {
  const length = method === 'PUT' ? { 'content-length': Buffer.byteLength(body) } : {}
  const outgoing = request({
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: { ...length, ...headers },
    agent: false,
  })
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject)
    if (patienceMs !== undefined) {
      outgoing.setTimeout(patienceMs, () => outgoing.destroy(new Error('no answer')))
    }
    outgoing.on('response', response => {
      buffer(response).then(
        bytes => resolve(answerOf(response.statusCode, response.headers, bytes)),
        reject,
      )
    })
    outgoing.end(body)
  })
}

function answerOf(status: number | undefined, headers: IncomingHttpHeaders, body: Buffer): Answer {
  let code: string | undefined
  try {
    code = (JSON.parse(body.toString()) as { code?: string }).code
  } catch {
    code = undefined
  }
  return { status: status ?? 0, headers, body, code }
}

/**
 * Sends `text` as it is and returns all that comes back until the node closes the connection; with
 * `ending` says that nothing more will come.
 */
export function exchange(port: number, text: string | Buffer, ending = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', reject)
    socket.on('end', () => {
      socket.end()
      resolve(Buffer.concat(chunks).toString('latin1'))
    })
    socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    if (ending) socket.end()
  })
}

/** Status and error code of an answer as it came off the wire. */
export function statusAndCode(answer: string): string {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 'none'
  const code = /"code":"(\w+)"/.exec(answer)?.[1]
  return code ? `${status} ${code}` : status
}

/** The URL path of a replica with a token for it. */
export function signed(
  method: Grant['method'],
  replica: { devid: number; fid: number },
  expires = Date.now() / 1000 + 60,
): string {
  const object = String(replica.fid)
  const token = signGrant(keys, { method, devid: replica.devid, object }, Math.floor(expires))
  return `${replicaPath(replica)}?${token}`
}

/** Every file below `directory`, relative, sorted; temporary ones included. */
export function filesBelow(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true }) as string[]
  return names.filter(name => !statSync(join(directory, name)).isDirectory()).sort()
}
