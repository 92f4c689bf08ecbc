/** Responses that the proxy makes itself. They say what went wrong and nothing about where. */
import { STATUS_CODES } from 'node:http'
import type { ClientSink } from './client-sink.ts'
import { without, type Field } from '../http/headers.ts'

/** Seconds after which a client that was turned away may try again. */
const retryAfterSeconds = 1

/** The fields and body of an own response with `status`. */
export function ownResponse(status: number): { fields: Field[]; body: Buffer } {
  const fields: Field[] = [
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['Cache-Control', 'no-store'],
  ]
  if (status === 503) fields.push(['Retry-After', String(retryAfterSeconds)])
  if (status === 405) fields.push(['Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'])
  return { fields, body: Buffer.from(`${STATUS_CODES[status] ?? 'Error'}\n`) }
}

/** Sends an own response. Throws ClientGone. */
export async function sendOwn(
  sink: ClientSink,
  status: number,
  { method, extra = [] }: { readonly method: string; readonly extra?: readonly Field[] },
): Promise<void> {
  const { fields, body } = ownResponse(status)
  const own = without(fields, ...extra.map(([name]) => name.toLowerCase()))
  sink.start({ status, fields: [...own, ...extra], length: body.length })
  await sink.end(method === 'HEAD' ? undefined : body)
}

/** An own response as bytes, for connections whose request could not even be read. Closes. */
export function rawOwnResponse(status: number): string {
  const { fields, body } = ownResponse(status)
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    `Date: ${new Date().toUTCString()}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body.toString()}`
}
