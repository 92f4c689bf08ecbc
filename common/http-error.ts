/** The bodies of HTTP errors: they have the shape of fastify's own errors, and a code of `errors.ts`. */
import { STATUS_CODES } from 'node:http'
import { isCoded, type ErrorCode } from './errors.ts'

/** The body of every HTTP error. */
export interface ErrorBody {
  statusCode: number
  code: string
  error: string
  message: string
}

/** The codes for errors that fastify itself raises. */
const codeOfStatus: Readonly<Record<number, ErrorCode>> = {
  400: 'bad_request',
  404: 'not_found',
  405: 'method_not_allowed',
  408: 'request_timeout',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  503: 'shutting_down',
}

/**
 * The body for an error. A CodedError keeps its code and message, and an error of fastify gets a code for
 * its status. Anything else becomes 500 `failure`, without details.
 */
export function errorBody(err: unknown): ErrorBody {
  if (isCoded(err)) return bodyOf(err.statusCode, err.code, err.message)
  const { statusCode } = err as { statusCode?: number }
  const code = statusCode === undefined ? undefined : codeOfStatus[statusCode]
  if (statusCode !== undefined && code) return bodyOf(statusCode, code, (err as Error).message)
  return bodyOf(500, 'failure', 'internal error')
}

const bodyOf = (statusCode: number, code: string, message: string): ErrorBody => ({
  statusCode,
  code,
  error: STATUS_CODES[statusCode] ?? 'Error',
  message,
})
