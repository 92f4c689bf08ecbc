/** Requests to a tracker's HTTP API, bytes as they are written in the test. */
import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import type { CommitUpload, Committed, OpenedUpload } from '../../../common/protocol/files.ts'

export interface Answer {
  readonly status: number
  /** Of an error. */
  readonly code: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly text: string
  json<T = Record<string, unknown>>(): T
}

export interface CallOptions {
  /** Sent as JSON. */
  readonly json?: unknown
  /** Sent as it is. */
  readonly body?: string
  /** Of the caller's; null: none. */
  readonly token?: string | null
  readonly headers?: OutgoingHttpHeaders
}

export type Call = (method: string, path: string, options?: CallOptions) => Promise<Answer>

/** Calls `origin`. No path is normalised: `..` is sent as `..`. */
export function createCall(origin: string, defaultToken: string): Call {
  const { hostname, port } = new URL(origin)
  return async (method, path, { json, body, token = defaultToken, headers = {} } = {}) => {
    const payload = json === undefined ? body : JSON.stringify(json)
    const answer = new Promise<Answer>((resolve, reject) => {
      const outgoing = request({
        hostname,
        port,
        method,
        path,
        agent: false,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(payload === undefined
            ? {}
            : {
                'content-type': 'application/json',
                'content-length': Buffer.byteLength(payload),
              }),
          ...headers,
        },
      })
      outgoing.once('error', reject)
      outgoing.once('response', incoming => {
        text(incoming).then(received => {
          const parse = <T>(): T => JSON.parse(received) as T
          const status = incoming.statusCode ?? 0
          const code = status < 400 || received === '' ? undefined : parse<{ code: string }>().code
          resolve({ status, code, headers: incoming.headers, text: received, json: parse })
        }, reject)
      })
      outgoing.end(payload)
    })
    return await answer
  }
}

export type Copy = CommitUpload['copies'][number]

/** Opens an upload in the domain `test`. */
export async function openUpload(
  call: Call,
  fields: Record<string, unknown>,
): Promise<OpenedUpload> {
  const answer = await call('POST', '/v1/domains/test/uploads', { json: fields })
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.json<OpenedUpload>()
}

/** Writes `bytes` to one target; the copy as a commit names it. */
export async function writeCopy(
  { devid, url }: OpenedUpload['targets'][number],
  bytes: string,
): Promise<Copy & { readonly receipt: string }> {
  const answer = await fetch(url, { method: 'PUT', body: bytes })
  await answer.arrayBuffer()
  const receipt = answer.headers.get('omg-receipt')
  if (answer.status !== 201 || !receipt) throw new Error(`PUT answered ${answer.status}`)
  return { devid, receipt }
}

/** Asks for a commit in the domain `test`. */
export function commit(
  call: Call,
  upload: string,
  json: Partial<CommitUpload> & Pick<CommitUpload, 'copies'>,
): Promise<Answer> {
  return call('POST', `/v1/domains/test/uploads/${upload}/commit`, { json })
}

/** Stores a file with one copy, by the routes that an SDK uses. */
export async function putFile(
  call: Call,
  name: { key: string } | { keyBytes: string },
  bytes = 'hello',
  fields: Record<string, unknown> = {},
): Promise<Committed> {
  const opened = await openUpload(call, { ...name, durability: 'fast', ...fields })
  const [first] = opened.targets
  if (!first) throw new Error('no targets')
  const answer = await commit(call, opened.upload, { copies: [await writeCopy(first, bytes)] })
  if (answer.status !== 200) throw new Error(answer.text)
  return answer.json<Committed>()
}
