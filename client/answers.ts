/** Reading the small answers of our HTTP services: text with a ceiling, and what went wrong. */
import type { Dispatcher } from 'undici'
import { isErrorCode, type ErrorCode } from '../common/errors.ts'

/** Longest answer that is read as text, in bytes; what is longer is cut. */
const maxTextBytes = 64 * 1024

/** Reads a body as UTF-8. The part beyond 64 KiB is thrown away, and with it the connection. */
export async function readText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxTextBytes) break // leaving the loop destroys the stream
  }
  return Buffer.concat(chunks).subarray(0, maxTextBytes).toString('utf8')
}

/** What a service says about a failure. */
export interface Problem {
  /** There when it is one of ours. */
  readonly code?: ErrorCode
  readonly message?: string
}

/** Reads the body of a failed answer; empty when it is not our kind of JSON. Never rejects. */
export async function readProblem({ headers, body }: Dispatcher.ResponseData): Promise<Problem> {
  if (!String(headers['content-type'] ?? '').startsWith('application/json')) {
    await body.dump()
    return {}
  }
  // An answer that breaks off says no more than its status.
  const { code, message } = parseObject(await readText(body).catch(() => ''))
  return {
    ...(isErrorCode(code) && { code }),
    ...(typeof message === 'string' && { message }),
  }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
