/** One GET to a service from this machine. */
import { readText } from '../answers.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The body as text, cut off at 64 KiB. */
  readonly text: string
  /** Seconds by which its clock is ahead of ours, from its Date field; undefined without one. */
  readonly clockSeconds: number | undefined
}

/** Milliseconds within which a service has to answer. */
const answerMs = 5_000

/**
 * Sends a GET once and follows no redirect. Rejects with the error of the network (`whyFailed` puts it
 * into words), or with the signal's reason.
 */
export async function askHttp(
  url: string,
  { signal, headers = {} }: { signal: AbortSignal; headers?: Record<string, string> },
): Promise<Answer> {
  const { Agent, request } = await import('undici') // half of the time that omg takes to start
  const dispatcher = new Agent({ connect: { timeout: answerMs } })
  try {
    const startedAt = Date.now()
    const deadline = AbortSignal.timeout(answerMs)
    const answer = await request(url, {
      dispatcher,
      headers,
      signal: AbortSignal.any([signal, deadline]),
    })
    const text = await readText(answer.body)
    const endedAt = Date.now()
    const date = Date.parse(String(answer.headers['date'] ?? ''))
    // The field is cut to whole seconds, so on average the clock is half a second further.
    const clockSeconds = Number.isNaN(date)
      ? undefined
      : (date + 500 - (startedAt + endedAt) / 2) / 1000
    return { status: answer.statusCode, headers: answer.headers, text, clockSeconds }
  } catch (err) {
    signal.throwIfAborted()
    throw err
  } finally {
    await dispatcher.destroy()
  }
}

/** A few words on why `askHttp` failed. */
export function whyFailed(err: unknown): string {
  const { code, message, name } = err as NodeJS.ErrnoException
  if (name === 'TimeoutError') return `no answer within ${answerMs / 1000} s`
  return message || code || 'no connection'
}
